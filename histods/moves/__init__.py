"""Move files so that every move can be finished or undone."""

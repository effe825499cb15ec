"""Files moved such that every move can be finished or undone."""

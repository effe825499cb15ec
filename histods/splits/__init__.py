"""Splits: groups that stay together, sizes and balance, and the table on disk."""

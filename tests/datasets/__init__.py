"""Whole datasets that tests and benchmarks read: of any size, and in the naming conventions of others."""

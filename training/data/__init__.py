"""Batches for training, in an order that is a pure function of (seed, position)."""

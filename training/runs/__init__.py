"""Runs on disk: checkpoints, metrics, and the boards that display them."""

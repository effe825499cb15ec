"""Measurements of the training loop, which `python -m training.bench` prints."""

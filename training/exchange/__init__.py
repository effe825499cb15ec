"""Checkpoints and exports of other programs: one file per format."""

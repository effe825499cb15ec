"""Colours of masks: counted, and read as labels."""

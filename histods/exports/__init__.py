"""Datasets in the layouts of other tools: one file per format, and the table of formats in `base`."""

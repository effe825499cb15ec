"""The settings of a run: sections, presets, files and `--set`."""

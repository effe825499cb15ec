"""Bundled label maps and label names, which can be given by file name as a map or labels file."""

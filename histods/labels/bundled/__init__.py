"""Bundled label maps and label names, found by file name where a map or labels file is asked for."""

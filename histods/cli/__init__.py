"""The command line: options, tables, progress and messages."""

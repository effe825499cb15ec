"""One file per command: its options, the call of the verb of the same name, and how its result is shown.

Everything heavy is imported inside the commands, so that `--help` and shell completion answer at once.
"""

"""One file a command: its options, the call of the verb of the same name, and what people see of the result.

Everything heavy is imported inside the commands, so that `--help` and shell completion answer at once.
"""

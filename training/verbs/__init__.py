"""The verbs train, encode and sample, which `histods.train` and the commands call."""

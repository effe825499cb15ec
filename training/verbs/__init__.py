"""The verbs train, encode and sample, as `histods.train` and the commands call them."""

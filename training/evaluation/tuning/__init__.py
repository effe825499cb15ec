"""Which way of sampling is best for a run, at a fixed number of passes through the network."""

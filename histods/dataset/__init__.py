"""The dataset: its files, which mask belongs to which image, and the manifest."""

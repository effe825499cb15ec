"""One codec per format: what reads its files; see `histods.images.formats`."""

"""One codec per format, which reads its files; see `histods.images.formats`."""

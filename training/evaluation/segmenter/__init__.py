"""A segmenter of the real patches: it says which class it sees at each pixel of an image, real or generated."""

"""Features of images, in which sets of images are compared."""

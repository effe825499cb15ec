"""How good generated images are: distance to real ones, fit to their masks, copies of training images."""

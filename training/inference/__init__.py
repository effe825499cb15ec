"""From masks to images by a trained network, and files for people to look at."""

"""Make images for masks with a trained network, and files to inspect them."""

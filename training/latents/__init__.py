"""Latents of images: encoded ahead or in each step, and normalised for the network."""

"""Latents of images: encoded ahead or in each step, and how the network sees them."""

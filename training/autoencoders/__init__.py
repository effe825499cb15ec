"""Autoencoders, which map images to latents and back."""

"""Shards of latents and masks as safetensors files."""

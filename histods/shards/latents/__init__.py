"""Shards of latents and masks as files that safetensors reads."""

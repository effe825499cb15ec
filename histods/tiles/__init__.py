"""Tiles: large images and their masks cut into patches of one size."""

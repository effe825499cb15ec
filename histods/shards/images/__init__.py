"""Shards of images and masks as TAR archives."""

"""Shards: archives of samples, their index, and how a killed writer goes on."""

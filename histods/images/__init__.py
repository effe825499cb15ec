"""Image files: formats, structure and damage, and one reader for all formats."""

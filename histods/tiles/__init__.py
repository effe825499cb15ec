"""Cut large images and their masks into tiles of one size."""

"""All disk access: one reader for every image, atomic writing, the manifest, the workspace."""

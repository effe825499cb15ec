"""Files of the workspace: write them atomically, and check them when reading."""

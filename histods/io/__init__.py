"""Files of the workspace: written atomically, read with checks."""

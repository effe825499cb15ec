"""One page that shows a workspace: what was found, with charts and pictures, in a single file without requests."""

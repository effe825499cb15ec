"""Import and export of other programs' formats: one file per format."""

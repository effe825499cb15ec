"""Replace files by repaired ones so that every byte can be restored."""

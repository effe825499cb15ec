"""Count the colours of masks, and read them as labels."""

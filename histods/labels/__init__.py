"""Labels and classes: names, colours, label maps."""

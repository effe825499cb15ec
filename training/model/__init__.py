"""The network: U-Net, layers, attention, conditioning, and their cost."""

"""The network: U-Net, layers, attention, conditioning, and what they cost."""

"""The diffusion process: noise schedules, noise by seed, samplers."""

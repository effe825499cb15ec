"""The diffusion process: noise schedules, seeded noise, samplers."""

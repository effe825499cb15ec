"""Random draws that are pure functions of (seed, position)."""

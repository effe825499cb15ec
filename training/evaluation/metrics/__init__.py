"""Measures of two sets of images as pure functions of their features, one row per image, computed in float64."""

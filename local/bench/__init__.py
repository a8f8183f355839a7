"""Figures: counts and ratios, each with its peers beside it."""

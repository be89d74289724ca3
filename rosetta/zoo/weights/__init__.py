"""Weights: where they come from, how they are read without running anything, how they are fitted in."""

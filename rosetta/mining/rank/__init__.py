"""Spearman correlation: exact ranks where they fit, sketches where they do not."""

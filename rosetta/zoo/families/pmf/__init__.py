"""Pixel MeanFlow: the network, its published sizes, and the family."""

"""Plots of a run: SVG for pages, matplotlib axes for notebooks and print."""

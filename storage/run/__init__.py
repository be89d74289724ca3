"""A finished run to look at from Python: its data first, and above it cells, sheets and plots."""

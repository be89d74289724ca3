"""Activation maps: which modules give them, in which layout, and how they are taken."""

"""Correlating images whose maps are not kept: each block goes through all models, into sums, and is forgotten."""

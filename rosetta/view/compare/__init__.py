"""The page of a comparison: what stays between two runs of the same models."""

"""The stages of a comparison: what stays between two runs of the same models, as tables and as a page."""

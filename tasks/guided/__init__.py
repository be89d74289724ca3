"""The stages of inversion and editing, which matches guide."""

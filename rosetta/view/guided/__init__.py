"""The page of an inversion or edit."""

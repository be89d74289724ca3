"""Features of sparse autoencoders as units: encoders that read the maps at a place of a model."""

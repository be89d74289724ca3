"""The stage that correlates a pair of models: tiles of units, ranges of images, and the sums between them."""

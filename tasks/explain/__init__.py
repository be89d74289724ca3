"""Where a classifier of a run looks for a class, and which concepts of the dictionary lie there."""

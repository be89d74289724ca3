"""The stages that say what correlations and profiles tell of a run as a whole."""

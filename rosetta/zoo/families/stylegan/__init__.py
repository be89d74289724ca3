"""Style-based generators, as plain modules that run anywhere torch does."""

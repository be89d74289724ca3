"""The artifacts of a run: the layout of each, how it is created, opened and read, and what its fingerprint says."""

"""Sums over images that no one keeps: they grow block by block, on whichever workers, in whichever order."""

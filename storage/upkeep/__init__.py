"""Looking after a run: status, check, mend, prune, and the seals that make damage visible."""

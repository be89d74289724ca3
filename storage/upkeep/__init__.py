"""Looking after a run: status, check, mend, prune, upgrade, and the seals that make damage visible."""

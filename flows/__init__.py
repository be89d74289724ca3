"""Prefect flows and the `rosetta` command: what runs, in which order, with which settings."""

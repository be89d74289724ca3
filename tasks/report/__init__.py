"""The stages that show a run: the dictionary's page, the page on trust, the figures."""

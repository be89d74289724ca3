"""The stages of a join: strengths through each model that saw both generators, tables, and the page."""

"""A finished run to look at from Python: its data and views over all units, and above them cells, sheets and
plots."""

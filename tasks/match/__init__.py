"""The stages that turn correlations into tables: best buddies, Rosetta neurons, concepts, units."""

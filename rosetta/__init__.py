"""Rosetta: mine the units that different vision models share.

The science stands in this package, free of any engine: :mod:`rosetta.recipe` says what a run is,
:mod:`rosetta.zoo` loads models and captures their activation maps, :mod:`rosetta.mining` correlates,
matches and clusters, :mod:`rosetta.view` draws.
"""

"""Rosetta: mine the units that different vision models share.

The science stands in this package, free of any engine: :mod:`rosetta.recipe` says what a run is,
:mod:`rosetta.zoo` loads models and captures their activation maps, :mod:`rosetta.mining` correlates,
matches and clusters, :mod:`rosetta.view` draws.

Trees of activations have the accessor `tree.rosetta` in every program that imports this package and xarray, in either
order. This package needs no xarray and does not wait for it.
"""

import os

from wrapt import register_post_import_hook

# Read when torch is loaded: how often its threads look before they sleep, while they wait for each other. By default
# they look so long that beside threads that encode, or any other program, they spin for one that has no core: a forward
# pass was measured to take ten times its work. Without looking at all it takes a third longer.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

# By name, as nothing here may import what stands above.
register_post_import_hook("storage.run.accessor:register", "xarray")

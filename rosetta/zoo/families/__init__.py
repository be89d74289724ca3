"""The families of models, an adapter each; :mod:`rosetta.zoo.registry` lists them."""

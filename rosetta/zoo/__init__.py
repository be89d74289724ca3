"""The zoo: models by name, their weights, and the activation maps of their layers."""

from rosetta.zoo.footprint import footprint
from rosetta.zoo.loading import is_fetched, is_generator, load, weights_files, weights_sha256
from rosetta.zoo.model import Model
from rosetta.zoo.preprocessing import Preprocessing
from rosetta.zoo.registry import families, names
from rosetta.zoo.structure import Outlined, outline, outlined, parameters, places, structure
from rosetta.zoo.work import Work, forward_work

__all__ = [
    "Model",
    "Outlined",
    "Preprocessing",
    "Work",
    "families",
    "footprint",
    "forward_work",
    "is_fetched",
    "is_generator",
    "load",
    "names",
    "outline",
    "outlined",
    "parameters",
    "places",
    "structure",
    "weights_files",
    "weights_sha256",
]

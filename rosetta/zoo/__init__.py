"""The zoo: models by name, their weights, and the activation maps of their layers."""

from rosetta.zoo.loading import is_generator, load, weights_sha256
from rosetta.zoo.model import Model
from rosetta.zoo.preprocessing import Preprocessing
from rosetta.zoo.registry import families, names

__all__ = ["Model", "Preprocessing", "families", "is_generator", "load", "names", "weights_sha256"]

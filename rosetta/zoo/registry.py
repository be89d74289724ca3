"""Which family a recipe's `model` belongs to."""

from rosetta.errors import UserError, nearest
from rosetta.zoo.architecture import Family
from rosetta.zoo.families.biggan import BigGANDeep
from rosetta.zoo.families.dcgan import DCGAN
from rosetta.zoo.families.diffusers.family import Diffusers
from rosetta.zoo.families.dino import DINO
from rosetta.zoo.families.open_clip import OpenCLIP
from rosetta.zoo.families.pixels import Pixels
from rosetta.zoo.families.pmf.family import PMF
from rosetta.zoo.families.python import PythonFactory
from rosetta.zoo.families.stylegan.family import StyleGAN2, StyleGAN3, StyleGANXL
from rosetta.zoo.families.timm import Timm
from rosetta.zoo.families.torchvision import Torchvision
from rosetta.zoo.families.transformers import Transformers

_GENERATIVE = (DCGAN, StyleGAN2, StyleGAN3, StyleGANXL, BigGANDeep, PMF, Diffusers)
_DISCRIMINATIVE = (Torchvision, Timm, DINO, OpenCLIP, Transformers)
_FAMILIES: dict[str, Family] = {kind.name: kind() for kind in (*_GENERATIVE, *_DISCRIMINATIVE, Pixels, PythonFactory)}
"""In the order in which they are listed: generative, then discriminative, then controls and a user's own."""


def families() -> dict[str, str]:
    """Every family with one line on what it offers."""
    return {name: family.description for name, family in _FAMILIES.items()}


def names(family: str) -> list[str]:
    """Known model names of a family, sorted; empty for `python`.

    Raises
    ------
    UserError
        No such family.
    """
    return _family(family).names()


def find(model: str) -> tuple[Family, str]:
    """The family of a recipe's `model`, and the name inside it.

    Raises
    ------
    UserError
        The text has neither form, or names no family.
    """
    if model.startswith("python:"):
        return _FAMILIES["python"], model.removeprefix("python:")
    family, slash, name = model.partition("/")
    if not (slash and name) or family == "python":
        known = nearest(model, _FAMILIES)
        raise UserError(
            f"model {model!r} is neither <family>/<name>, dcgan/digiface say, nor python:<module>:<factory>{known}"
        )
    return _family(family), name


def _family(family: str) -> Family:
    if family not in _FAMILIES:
        raise UserError(
            f"unknown model family {family!r}{nearest(family, _FAMILIES)} (there are {', '.join(_FAMILIES)})"
        )
    return _FAMILIES[family]

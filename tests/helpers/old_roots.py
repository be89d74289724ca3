"""Roots that earlier versions wrote, unpacked."""

import zipfile
from pathlib import Path

from stores_of_versions.make import PLACE

from rosetta.recipe import Recipe, read_recipe

VERSIONS = sorted(path.parent.name for path in PLACE.glob("*/root.zip"))


def unpack(version: str, folder: Path) -> Path:
    """The kept run of a version."""
    with zipfile.ZipFile(PLACE / version / "root.zip") as packed:
        packed.extractall(folder / "root")
    return folder / "root"


def unpack_more(name: str, folder: Path) -> Path:
    """Another root of format 2, and in the folder what it was made from: `searched` or `photos`."""
    with zipfile.ZipFile(PLACE / "2" / f"{name}.zip") as packed:
        packed.extractall(folder)
    return folder / "root"


def recipe_at(root: Path) -> Recipe:
    """What made it, for the place where it lies now."""
    return read_recipe(root / "recipe.toml", str(root), ())

"""Folders of tiny pictures, and the stage `images` over them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rosetta.recipe import Recipe
from storage.artifacts import agreed, catalogue
from storage.artifacts import layout as zarrs
from storage.artifacts.shared import Place
from storage.filesystem.local import DurableStore
from storage.filesystem.root import Root
from tasks.dump.images import read_source
from tasks.source.recognition import in_order, recognise

SIDE, BLOCK = 4, 4


def write(file: Path, seed: int, whole: bool = True) -> None:
    """A picture whose file has the same size whatever is in it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(file)
    if not whole:
        file.write_bytes(file.read_bytes()[:-20])


def classes(folder: Path) -> Path:
    """Three classes of 6, 3 and 2 pictures; two of them have the same names."""
    for seed, name in enumerate([*(f"cat/{i}" for i in range(6)), *(f"dog/{i}" for i in range(3)), "owl/x", "owl/y"]):
        write(folder / f"{name}.bmp", seed)
    return folder


def recipe_of(folder: Path | str, **more) -> Recipe:
    models = [{"name": name, "model": "timm/resnet18", "weights": "random:0"} for name in "ab"]
    images = {"source": str(folder), "size": SIDE, **more}
    return Recipe.model_validate({"name": "it", "root": "none", "images": images, "models": models})


def mine(root: Root, folder: Path | str, **more) -> str:
    """As the flow does: refused by what is there, or read; `done` or `skipped`."""
    recipe = recipe_of(folder, **more)
    files = in_order(recipe.images)
    found = recognise(Place(root, catalogue.IMAGES.path()), recipe.images, files, agreed.known(root))
    agreed.keep(found.agreed, root)
    found.require_none_other()
    return read_source(root, recipe.images, files, recipe.compute.chunk_mib) or "done"


def fingerprint_of(root: Root) -> str:
    return str(zarrs.open_complete(root, catalogue.IMAGES.path()).attrs["fingerprint"])


def bytes_of(root: Root) -> dict[str, bytes]:
    return {file: root.read_bytes(file) for file in root.find(catalogue.IMAGES.path())}


def repaint(folder: Path, *names: str) -> None:
    for name in names:
        write(folder / name, 1000)


class CutError(Exception):
    """The machine goes off."""


def cut_at(patch: pytest.MonkeyPatch, writes: int) -> list[int]:
    """Let so many files be written and no more; counts them."""
    done = [0]

    def counted(kept):
        def counting(self, *arguments, **named):
            done[0] += 1
            if done[0] > writes:
                raise CutError
            return kept(self, *arguments, **named)

        return counting

    for name in ("_set", "set_sync"):
        patch.setattr(DurableStore, name, counted(getattr(DurableStore, name)))
    return done

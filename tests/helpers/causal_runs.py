"""A finished run of :mod:`causal_zoo` that no one mined: its neurons are those that were planted."""

from collections.abc import Mapping
from pathlib import Path

import causal_zoo
import numpy as np
import pandas as pd
import torch
from described import described
from stores import begin, write_blocks

from rosetta import zoo
from rosetta.recipe import parse_recipe
from rosetta.zoo.image_arrays import to_pixels
from storage.artifacts import provenance, tables
from storage.artifacts.fingerprint import fingerprint
from storage.artifacts.images import ImageStore
from storage.filesystem.root import Root

IMAGES, BLOCK = 24, 8
FACTORIES = {"g": "drawer", "d": "seer", "c": "classifier"}
TRUE = [(unit, unit) for unit in range(causal_zoo.NEURONS)]
"""Unit of G and the detector that sees it."""
CONFOUNDED = [(unit, causal_zoo.FACTOR[unit]) for unit in causal_zoo.UNDRAWN]
"""Unit of G that is not drawn, and the detector that sees another with the same factor."""
FIRST = 5
"""Unit of a seer that is detector 0."""


def write(place: Path, models: Mapping[str, str] = FACTORIES, layers: str = "", seed: int = 0) -> Root:
    """The run under a folder.

    Parameters
    ----------
    models
        By name: the factory.
    layers
        A line more in the table of every model.
    seed
        Of the latents.
    """
    root = Root(str(place))
    text = f'name = "causal"\nroot = "{place}"\n[images]\ncount = {IMAGES}\n' + (
        "" if "g" in models else 'source = "none"\n'
    )
    for name, factory in models.items():
        text += f'[[models]]\nname = "{name}"\nmodel = "python:causal_zoo:{factory}"\nweights = "random:1"\n{layers}\n'
    recipe = parse_recipe(text + '[compute]\ndevice = "cpu"\n', "test")
    provenance.write_recipe(root, recipe)
    drawer = zoo.load(parse_recipe(_DRAWER, "test").models[0])
    latents = drawer.draw_latents(range(IMAGES), seed)
    made, own = drawer.generate(torch.from_numpy(latents))
    side = causal_zoo.SIDE
    known = latents if "g" in models else None
    store = ImageStore.create(root, fingerprint("images"), images=IMAGES, size=(side, side), block=BLOCK, latents=known)
    for block in range(IMAGES // BLOCK):
        store.write(block, to_pixels(made)[block * BLOCK : (block + 1) * BLOCK])
    store.finish()
    loaded = {spec.name: zoo.load(spec) for spec in recipe.models}
    units = {name: model.units for name, model in loaded.items()}
    rows = []
    for name, model in loaded.items():
        maps = own if name == "g" else model.observe(made)
        of_model = begin(
            root, name, fingerprint("activations", of=name), model.units, images=IMAGES, block=BLOCK,
            generator=name == "g", indices=np.arange(IMAGES),
        )  # fmt: skip
        write_blocks(of_model, {layer: values.numpy() for layer, values in maps.items()})
        for layer, span in model.units.spans():
            for unit in range(span.start, span.stop):
                rows.append({"model": name, "layer": layer.name, "channel": unit - span.start, "unit": unit})
    frames = {"units": pd.DataFrame(rows), **_dictionary(models)}
    for name, frame in frames.items():
        path = f"tables/{name}.parquet"
        tables.write(root, path, described(path, frame), fingerprint(name), tables.categories_of(units))
    return root


def _dictionary(models: Mapping[str, str]) -> dict[str, pd.DataFrame]:
    """Three neurons a concept; those that are confounded make one. Every other neuron is trusted."""
    rows = []
    for number, (unit, seen) in enumerate([*TRUE, *CONFOUNDED]):
        whole = {
            "rosetta": number, "cluster": min(number // 3, len(TRUE) // 3), "anchor_unit": unit,
            "mean_pearson": 0.9, "trusted": number % 2 == 0,
        }  # fmt: skip
        for name in models:
            at = (unit, "shapes", unit) if name == "g" else (FIRST + seen, "see", seen)
            rows.append({**whole, "model": name, **dict(zip(("unit", "layer", "channel"), at, strict=True))})
    rosetta = pd.DataFrame(rows)
    own = rosetta[rosetta["model"] == next(iter(models))]
    clusters = own.groupby("cluster").agg(size=("rosetta", "size"), anchor_unit=("anchor_unit", "first")).reset_index()
    return {"rosetta": rosetta, "clusters": clusters}


_DRAWER = """name = "drawer"
root = "nowhere"
[[models]]
name = "g"
model = "python:causal_zoo:drawer"
weights = "random:1"
[[models]]
name = "d"
model = "python:causal_zoo:seer"
weights = "random:1"
"""

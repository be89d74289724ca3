"""The classes that concepts are selective for, as the atlas shows them: a row for each, and mean maps."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from rosetta.view.atlas.maps import encode, quantise
from rosetta.view.atlas.script import numbers, put
from rosetta.view.pictures.pooling import shrink
from storage.artifacts.catalogue import CLASSES_OF_CONCEPTS
from tasks.names.class_maps import class_maps, images_by_class
from tasks.report.atlas.run import AtlasRun

SIDE = 16
"""Positions of a side of a mean map, at most."""
_NUMBERS = ("images", "auroc", "deviation", "mean", "confusion", "map_pearson")

Float64 = npt.NDArray[np.float64]


def class_profiles(run: AtlasRun) -> tuple[str, bytes]:
    """`data/classes.js`."""
    frame = run.optional(CLASSES_OF_CONCEPTS)
    if frame is None or "confused" not in frame or not len(frame):
        return "data/classes.js", put("classes", {})
    frame = frame.sort_values(["cluster", "rank"])
    maps = _mean_maps(run, frame.drop_duplicates("cluster").set_index("cluster"))
    columns = {name: numbers(frame[name].to_numpy()) for name in _NUMBERS}
    columns |= {name: [str(text) for text in frame[name]] for name in ("label", "confused")}
    profiles: dict[str, dict[str, Any]] = {}
    for row, concept in enumerate(frame["cluster"].tolist()):
        profile = profiles.setdefault(str(concept), {"rows": [], **maps.get(concept, {"grid": None, "maps": []})})
        profile["rows"].append({name: values[row] for name, values in columns.items()})
    return "data/classes.js", put("classes", profiles)


def _mean_maps(run: AtlasRun, best: pd.DataFrame) -> dict[int, dict[str, Any]]:
    """By concept: mean maps over the class that it is most selective for, the one confused with it, and all others."""
    classes = run.pictures.named_classes()
    if classes is None:
        return {}
    known = {label: number for number, label in enumerate(classes.names)}
    images = images_by_class(classes.numbers)
    if not images:
        return {}
    units = run.first[run.anchor]
    found: dict[int, dict[str, Any]] = {}
    for layer, span in run.stores[run.anchor].units.spans():
        concepts = [one for one in best.index.tolist() if span.start <= units[one] < span.stop]
        channels = (units[concepts] - span.start).astype(np.int64)
        for concept, maps in zip(
            concepts, class_maps(run.stores[run.anchor], layer.name, channels, images), strict=True
        ):
            own, other = (known.get(best.at[concept, name]) for name in ("label", "confused"))
            rest = [number for number in maps if number != own]
            chosen = [None if number is None else maps.get(number) for number in (own, other)]
            weights = [len(images[number]) for number in rest]
            chosen.append(np.average([maps[number] for number in rest], axis=0, weights=weights) if rest else None)
            found[concept] = _encoded(chosen)
    return found


def _encoded(maps: list[Float64 | None]) -> dict[str, Any]:
    """On one scale, from the lowest of all values to the highest."""
    there = [shrink(one[None].astype(np.float32), SIDE)[0] for one in maps if one is not None]
    low, high = _edges(there)
    texts = iter(encode(quantise(one[None], low, high).tobytes()) for one in there)
    return {"grid": list(there[0].shape), "maps": [None if one is None else next(texts) for one in maps]}


def _edges(maps: list[npt.NDArray[np.float32]]) -> tuple[Float64, Float64]:
    every = np.concatenate([one.ravel() for one in maps]).astype(np.float64)
    return every.min(keepdims=True), every.max(keepdims=True)

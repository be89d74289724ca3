"""Finished runs whose dictionaries are given, for comparisons: no one mined them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import joined_runs
import numpy as np
import pandas as pd
from joined_runs import Seen, units_of

from rosetta.units import Units

GENERATOR = units_of(30, 10)
MODELS = {"d": units_of(20, 11), "e": units_of(25)}


@dataclass(frozen=True)
class Neuron:
    """A Rosetta neuron of a made-up run."""

    unit: int
    """Of the generator."""
    concept: int = 0
    members: Mapping[str, int] = field(default_factory=lambda: {"d": 0, "e": 0})
    """By model: its unit."""
    strength: float = 0.5
    trusted: bool = False


def write(
    place: Path,
    neurons: Sequence[Neuron],
    *,
    generator: Units = GENERATOR,
    models: Mapping[str, Units] = MODELS,
    controls: Sequence[str] = (),
    order: Sequence[int] | None = None,
    **more: Any,
) -> Path:
    """A run under a folder.

    Parameters
    ----------
    order
        Of the rows in its table of Rosetta neurons; as they come by default.
    more
        As :func:`joined_runs.write` takes it.
    """
    count = len(generator)
    seen = {
        name: Seen(units, np.zeros((count, len(units)), np.float32), name, name in controls)
        for name, units in models.items()
    }
    rosetta, buddies = _rows(neurons, {"g": generator, **models})
    clusters = pd.DataFrame({"cluster": sorted({one.concept for one in neurons})})
    frames = {
        "rosetta": rosetta if order is None else rosetta.iloc[list(order)],
        "buddies": buddies,
        "clusters": clusters,
    }
    return joined_runs.write(place, generator, np.eye(count, dtype=np.float32), seen, frames=frames, **more)


def _rows(neurons: Sequence[Neuron], units: Mapping[str, Units]) -> tuple[pd.DataFrame, pd.DataFrame]:
    rosetta, buddies = [], []
    for number, one in enumerate(neurons):
        about = {"rosetta": number, "cluster": one.concept, "anchor_unit": one.unit, "trusted": one.trusted}
        for model, unit in {"g": one.unit, **one.members}.items():
            pearson = np.nan if model == "g" else one.strength
            rosetta.append({**about, "model": model, "pearson": pearson, **_unit(units[model], unit)})
            if model != "g":
                sides = {"a": ("g", one.unit), "b": (model, unit)}
                pair = {f"{name}_{side}": value for side, (of, own) in sides.items()
                        for name, value in {"model": of, **_unit(units[of], own)}.items()}  # fmt: skip
                buddies.append({**pair, "pearson": pearson})
    return pd.DataFrame(rosetta), pd.DataFrame(buddies)


def _unit(units: Units, unit: int) -> dict[str, Any]:
    return {"unit": unit, "layer": units.layer_names()[unit], "channel": units.channels()[unit]}

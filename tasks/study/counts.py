"""What one finished run of a study counts, unit by unit and in all."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from storage.artifacts.catalogue import EXCESS, NULL, RAREFACTION
from storage.artifacts.tables import read
from storage.run.data import RunData

Float64 = npt.NDArray[np.float64]

PARTS = ("early", "middle", "late")
"""Thirds of the depth of a model."""


@dataclass(frozen=True)
class Counts:
    """The matches of one model with the anchor, by its units and by the anchor's."""

    model: str
    of_units: Mapping[str, Float64]
    """By count: (unit,) what each unit of the model adds."""
    of_anchor: Mapping[str, Float64]
    """By count: (anchor unit,) what each unit of the anchor adds."""
    part: npt.NDArray[np.intp]
    """(unit,) index into :data:`PARTS`."""
    draws: Mapping[int, Float64]
    """By number of units drawn: (draw,) buddies among them."""
    row: Mapping[str, Any]
    """What a row of `tables/study.parquet` has beside its names, sizes and rarefied counts."""
    layers: pd.DataFrame
    """One row a layer, as `tables/depths.parquet` without the anchor."""


def counts_of(run: RunData, model: str) -> Counts:
    """What a run counts.

    Parameters
    ----------
    run
        A finished one.
    model
        The model of a family that takes part in it.
    """
    units = run.unit_table[run.unit_table["model"] == model].sort_values("unit")
    trust = run.with_anchor(run.trust, model)
    pairs, trusted = trust["unit_b"].to_numpy(), trust["trusted"].to_numpy(bool)
    buddies, of_trusted = (np.bincount(some, minlength=len(units)).astype(float) for some in (pairs, pairs[trusted]))
    of_units = {
        "buddies": buddies,
        "buddies_trusted": of_trusted,
        "matched": (buddies > 0).astype(float),
        "matched_trusted": (of_trusted > 0).astype(float),
    }
    neurons, anchor_units = run.neurons, len(run.stores[run.anchor].units)
    of_anchor = {
        name: np.bincount(some["anchor_unit"], minlength=anchor_units).astype(float)
        for name, some in (("neurons", neurons), ("neurons_trusted", neurons[neurons["trusted"]]))
    }
    depth = _depth(run.layers(model), units["layer"])
    part = np.minimum((depth * len(PARTS)).astype(np.intp), len(PARTS) - 1)
    row: dict[str, Any] = {name: int(values.sum()) for name, values in {**of_units, **of_anchor}.items()}
    row |= {
        "units": len(units),
        "share": row["matched"] / len(units),
        "share_trusted": row["matched_trusted"] / len(units),
        "buddies_null": _null(run, model),
        "pearson": float(trust["pearson"].median()),
        "excess": _excess(run, model),
        **_selectivity(units, buddies > 0),
    }
    layers = _layers(model, units.assign(depth=depth, part=np.array(PARTS)[part], **of_units))
    return Counts(model, of_units, of_anchor, part, _draws(run, model), row, layers)


def _depth(layers: list[str], of_units: "pd.Series[str]") -> Float64:
    """(unit,) 0 in the first layer, 1 in the last; ½ in a single one."""
    place = of_units.map({name: number for number, name in enumerate(layers)}).to_numpy(np.float64)
    return place / (len(layers) - 1) if len(layers) > 1 else np.full(len(place), 0.5)


def _selectivity(units: pd.DataFrame, matched: npt.NDArray[np.bool_]) -> dict[str, float]:
    return {
        f"{name}_{which}": float(units.loc[some, name].median())
        for name in ("kurtosis", "half_share")
        for which, some in (("matched", matched), ("others", ~matched))
    }


def _null(run: RunData, model: str) -> float:
    null = run.optional(NULL)
    return np.nan if null is None else float(null.loc[(null["of"] == model) & (null["exchange"] > 0), "count"].mean())


def _excess(run: RunData, model: str) -> float:
    path = EXCESS.path(run.anchor, model)
    return float(read(run.root, path)["excess"].mean()) if run.root.exists(path) else np.nan


def _draws(run: RunData, model: str) -> dict[int, Float64]:
    draws = run.optional(RAREFACTION)
    if draws is None:
        return {}
    of_model = draws[draws["model_b"] == model].sort_values("draw").groupby("units")["buddies"]
    return {int(number): some.to_numpy(np.float64) for number, some in of_model}


def _layers(model: str, units: pd.DataFrame) -> pd.DataFrame:
    layers = units.groupby(["depth", "layer", "part"], sort=True).agg(
        units=("unit", "size"),
        buddies=("buddies", "sum"),
        buddies_trusted=("buddies_trusted", "sum"),
        matched=("matched", "sum"),
        share=("matched", "mean"),
        kurtosis=("kurtosis", "median"),
        half_share=("half_share", "median"),
    )
    return layers.reset_index().assign(model=model)

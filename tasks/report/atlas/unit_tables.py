"""What tables say of single units: names, classes, causes, neurons, and how well their best match holds.

A table that was made of another dictionary, or that the run has none of, says nothing.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from rosetta.view.atlas.script import numbers
from storage.artifacts.catalogue import CAUSES, CLASSES_OF_UNITS, LABELS, MASKS, SILENCED
from tasks.report.atlas.run import AtlasRun

Float64 = npt.NDArray[np.float64]
Listed = dict[int, list[list[Any]]]
"""By unit."""
SHOWN = 5
"""Classes whose scores rise or fall that are told of a concept that was silenced."""


@dataclass(frozen=True)
class UnitTables:
    """What there is to say of the units of a model."""

    lists: dict[str, Listed]
    """By the name that the page has for it, see :mod:`rosetta.view.atlas`."""
    columns: dict[str, Float64]
    """(unit,) what the units of a layer can be sorted by; NaN where it was not measured."""
    names: dict[int, str]
    """By unit, of those that have one."""


def unit_tables(run: AtlasRun, model: str) -> UnitTables:
    """Of one model."""
    labels, masks = (_of_model(run.found(table), model) for table in (LABELS, MASKS))
    words = labels[labels["subject"] == "unit"] if "subject" in labels else labels
    lists = {
        "classes": _listed(
            _of_model(run.optional(CLASSES_OF_UNITS), model), ["label", "images", "auroc", "deviation", "mean"]
        ),
        "words": _listed(words, ["label", "score", "score_null", "named"]),
        "masks": _listed(masks, ["label", "iou", "named"]),
        "neurons": _neurons(run, model),
        "causes": _causes(run, model),
        "silenced": _silenced(run, model),
    }
    columns = {
        **_best_match(run, model),
        "auroc": _highest(run, model, lists["classes"], 2),
        "iou": _highest(run, model, lists["masks"], 1),
        "effect": _highest(run, model, lists["causes"], 2),
    }
    names: dict[int, str] = {}
    for frame in (masks, words):  # words come last, and so first
        if "named" in frame:
            best = frame[frame["named"].astype(bool) & (frame["rank"] == 1)]
            names |= dict(zip(best["unit"].tolist(), best["label"].astype(str).tolist(), strict=True))
    return UnitTables(lists, columns, names)


def _of_model(frame: pd.DataFrame | None, model: str) -> pd.DataFrame:
    return pd.DataFrame() if frame is None or not len(frame) else frame[frame["model"] == model]


def _listed(frame: pd.DataFrame, names: Sequence[str], order: str = "rank") -> Listed:
    """By unit its rows in order, each as the values of some columns."""
    found: Listed = defaultdict(list)
    if len(frame):
        frame = frame.sort_values(["unit", order], kind="stable")
        columns = [_plain(frame[name]) for name in names]
        for unit, *row in zip(frame["unit"].tolist(), *columns, strict=True):
            found[unit].append(row)
    return dict(found)


def _plain(column: pd.Series) -> list[Any]:
    values = column.to_numpy()
    return numbers(values) if values.dtype.kind in "iubf" else [str(value) for value in values]


def _neurons(run: AtlasRun, model: str) -> Listed:
    """By unit [rosetta, cluster, trusted]: the neurons that it belongs to."""
    members = run.members
    # The anchor's row is about the neuron. In earlier versions the other rows were about their own match.
    trusted = members[members["model"] == run.anchor].set_index("rosetta")["trusted"]
    rows = members[members["model"] == model]
    return _listed(rows.assign(trusted=rows["rosetta"].map(trusted)), ["rosetta", "cluster", "trusted"], "rosetta")


def _causes(run: AtlasRun, model: str) -> Listed:
    """By unit [model, unit, effect, change, rank, random, p, q]: its buddy, or the generator's unit that it follows.

    Effects are those of units, whatever the dictionary has become; only matches that are in it now are told.
    """
    frame = run.found(CAUSES)
    if frame is None or not len(frame):
        return {}
    key = ["anchor_unit", "model", "unit"]
    frame = frame.merge(run.rosetta[key].drop_duplicates(), on=key)
    if model == run.anchor:
        ends = frame.assign(other=frame["model"].map(run.index), other_unit=frame["unit"], unit=frame["anchor_unit"])
    else:
        own = frame[frame["model"] == model]
        ends = own.assign(other=0, other_unit=own["anchor_unit"])
    columns = ["other", "other_unit", "causal_effect", "causal_change", "causal_rank", "random_effect", "causal_p"]
    return _listed(ends, [*columns, "causal_q"], order="other")


def _silenced(run: AtlasRun, model: str) -> Listed:
    """By unit of a concept that was silenced [concept, units, change, random, p, rising, falling]."""
    frame = _of_model(run.found(SILENCED), model)
    if not len(frame):
        return {}
    of_concept = {}
    for concept, rows in frame.groupby("cluster"):
        whole = rows[rows["rank"] == 0]
        if len(whole):
            facts = _rows(whole, ["cluster", "units", "change", "random", "p_value"])[0]
            of_concept[concept] = [*facts, _classes(rows, np.greater), _classes(rows, np.less)]
    members = _of_model(run.members, model)[["unit", "cluster"]].drop_duplicates().sort_values(["unit", "cluster"])
    found: Listed = defaultdict(list)
    for unit, concept in members.itertuples(index=False):
        if concept in of_concept:
            found[int(unit)].append(of_concept[concept])
    return dict(found)


def _classes(rows: pd.DataFrame, side: Callable[..., Any]) -> list[list[Any]]:
    """[label or index, change] of the classes that rise most, or fall most."""
    rows = rows[side(rows["rank"], 0)]
    rows = rows.iloc[np.argsort(np.abs(rows["rank"].to_numpy()), kind="stable")][:SHOWN]
    names = [label or f"class {index}" for label, index in zip(rows["label"], rows["class"], strict=True)]
    return [list(row) for row in zip(names, numbers(rows["change"].to_numpy()), strict=True)]


def _rows(frame: pd.DataFrame, names: Iterable[str]) -> list[list[Any]]:
    return [list(row) for row in zip(*(_plain(frame[name]) for name in names), strict=True)]


def _best_match(run: AtlasRun, model: str) -> dict[str, Float64]:
    """(unit,) correlation of each unit's strongest match that is with no control, and the same held out."""
    frame = run.trust[run.trust["model_a"] != run.trust["model_b"]]
    frame = frame[~frame["model_b"].isin(run.controls) | (frame["model_b"] == model)]
    sides = [
        frame[frame[f"model_{side}"] == model].rename(columns={f"unit_{side}": "unit"})[
            ["unit", "pearson", "pearson_held_out"]
        ]
        for side in "ab"
    ]
    best = pd.concat(sides).sort_values("pearson", ascending=False, kind="stable").drop_duplicates("unit")
    best = best.set_index("unit").reindex(range(len(run.stores[model].units)))
    return {"match": best["pearson"].to_numpy(np.float64), "held_out": best["pearson_held_out"].to_numpy(np.float64)}


def _highest(run: AtlasRun, model: str, lists: Listed, place: int) -> Float64:
    """(unit,) the highest of a value of its rows; NaN where it has none."""
    found = np.full(len(run.stores[model].units), np.nan)
    for unit, rows in lists.items():
        found[unit] = max((row[place] for row in rows if row[place] is not None), default=np.nan)
    return found

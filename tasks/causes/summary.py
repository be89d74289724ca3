"""What `rosetta ablate` found, in a few numbers and lines."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from storage.artifacts import tables
from storage.artifacts.catalogue import CAUSES, SILENCED
from storage.filesystem.root import Root

_CLASSES = 2
"""Classes of each direction in a printed line."""


def of_causes(root: Root, q: float) -> list[dict[str, Any]]:
    """One entry a model: how many neurons it follows at a false discovery rate, and how many random units.

    `effect` is the median over the neurons, `random_effect` the median over them of the random units' mean.
    """
    frame, about = tables.read(root, CAUSES.path()), tables.attributes(root, CAUSES.path())
    found = []
    for model, rows in frame.groupby("model", sort=False):
        random = [np.nan if one is None else one for one in about["random"][model]]
        found.append(
            {
                "model": model,
                "neurons": len(rows),
                "followed": int((rows["causal_q"] <= q).sum()),
                "random": len(random),
                "random_followed": int((np.array(random) <= q).sum()),
                "effect": _number(rows["causal_effect"].median()),
                "random_effect": _number(rows["random_effect"].median()),
                "rank": _number(rows["causal_rank"].median()),
            }
        )
    return found


def causes_lines(summary: Sequence[Mapping[str, Any]], q: float) -> list[str]:
    """For people."""
    lines = []
    for one in summary:
        lines.append(
            f"{one['model']}: {one['followed']} of {one['neurons']} buddies follow their neuron at q ≤ {q:g}"
            f" (median effect {_shown(one['effect'])}, of random units {_shown(one['random_effect'])}); of"
            f" {one['random']} random units, {one['random_followed']} do as well in their place"
        )
    return lines


def of_silenced(root: Root) -> list[dict[str, Any]]:
    """One entry for each concept and model: how far the output moves, and the classes whose scores move most."""
    frame = tables.read(root, SILENCED.path())
    found = []
    for (cluster, model), rows in frame.groupby(["cluster", "model"], sort=False):
        whole = rows[rows["rank"] == 0].iloc[0]
        found.append(
            {
                "concept": int(cluster),
                "model": model,
                "units": int(whole["units"]),
                "distance": float(whole["change"]),
                "random": _number(whole["random"]),
                "p": _number(whole["p_value"]),
                "cosine": float(whole["cosine"]),
                "norm": float(whole["norm"]),
                "up": _classes(rows[rows["rank"] > 0]),
                "down": _classes(rows[rows["rank"] < 0]),
            }
        )
    return found


def silenced_lines(summary: Sequence[Mapping[str, Any]]) -> list[str]:
    """For people."""
    lines = []
    for one in summary:
        moves = [
            f"{name or f'class {index}'} {change:+.2f}"
            for direction in (one["up"], one["down"])
            for index, name, change in ((each["class"], each["label"], each["change"]) for each in direction[:_CLASSES])
        ]
        lines.append(
            f"concept {one['concept']} in {one['model']} ({one['units']} units): the output moves by"
            f" {one['distance']:.0%} of its length (random units {_shown(one['random'], '.0%')}, p {_shown(one['p'])})"
            + (f"; {', '.join(moves)}" if moves else f"; cosine {one['cosine']:.2f}")
        )
    return lines


def notes(root: Root, path: str) -> list[str]:
    """What a reader must know of the p-values of a table."""
    return list(tables.attributes(root, path).get("notes", ()))


def _classes(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {
            "class": int(row["class"]),
            "label": row["label"],
            "change": float(row["change"]),
            "p": _number(row["p_value"]),
        }
        for row in rows.to_dict("records")
    ]


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _shown(value: float | None, how: str = ".3g") -> str:
    return "unknown" if value is None else f"{value:{how}}"

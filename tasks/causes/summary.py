"""What `rosetta ablate` found, in a few numbers and lines."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from rosetta.guidance.causes import q_values, share_followed
from storage.artifacts import tables
from storage.artifacts.catalogue import CAUSES, SILENCED
from storage.filesystem.root import Root

_CLASSES = 2
"""Classes of each direction in a printed line."""


def of_causes(root: Root, q: float) -> list[dict[str, Any]]:
    """One entry a model: how its buddies follow the neurons, and how they follow random units in their place.

    Of both: `followed` at a false discovery rate, `p_followed` at a p of that size, and `share` of those that are
    followed at all (:func:`rosetta.guidance.causes.share_followed`). `effect` and `rank` are medians over the neurons.
    """
    frame, about = tables.read(root, CAUSES.path()), tables.attributes(root, CAUSES.path())
    found = []
    for model, rows in frame.groupby("model", sort=False):
        random = np.array([np.nan if one is None else one for one in about["random"][model]], np.float64)
        found.append(
            {
                "model": model,
                "neurons": _followed(rows["causal_p"].to_numpy(), q),
                "random": _followed(random, q),
                "effect": _number(rows["causal_effect"].median()),
                "random_effect": _number(rows["random_effect"].median()),
                "rank": _number(rows["causal_rank"].median()),
            }
        )
    return found


def _followed(p: npt.NDArray[np.float64], q: float) -> dict[str, Any]:
    return {
        "count": len(p),
        "followed": int((q_values(p) <= q).sum()),
        "p_followed": int((p <= q).sum()),
        "share": _number(share_followed(p)),
    }


def causes_lines(summary: Sequence[Mapping[str, Any]], q: float) -> list[str]:
    """For people."""
    lines = []
    for one in summary:
        neurons, random = one["neurons"], one["random"]
        lines.append(
            f"{one['model']}: {neurons['followed']} of {neurons['count']} buddies follow their neuron at q ≤ {q:g},"
            f" {neurons['p_followed']} at p ≤ {q:g}, about {_shown(neurons['share'], '.0%')} at all (median effect"
            f" {_shown(one['effect'])}, of random units {_shown(one['random_effect'])}); of {random['count']} random"
            f" units in their place {random['followed']}, {random['p_followed']} and about"
            f" {_shown(random['share'], '.0%')}"
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

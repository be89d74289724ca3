"""Numbers that nobody measured, in the tables that are made for the sake of trust alone, for what shows them."""

import zlib

import numpy as np
import pandas as pd
from described import described

from storage.artifacts import tables
from storage.artifacts.activations import ActivationStore
from storage.artifacts.artifact import Artifact
from storage.artifacts.catalogue import (
    ASSIGNED,
    DISTANCES,
    EXAMINED,
    EXCESS,
    LAYERS,
    NULL,
    RAREFACTION,
    STABILITY,
    TRUST_OF_PAIR,
)
from tasks.plan import Plan

_PAIR = [f"{name}_{side}" for side in "ab" for name in ("model", "unit", "layer", "channel")]


def of_pairs(plan: Plan) -> None:
    """Excess of every unit, what maps say of every match, and which matches are one to one: half of them."""
    for a, b in plan.pairs:
        matches = tables.read(plan.root, TRUST_OF_PAIR.path(a, b))
        _write(plan, EXAMINED, _examined(matches), a, b)
        if a != b:
            _write(plan, EXCESS, _excess(plan, a, b), a, b)
            _write(plan, ASSIGNED, matches[[*_PAIR, "pearson"]].iloc[::2].assign(rank_ab=1, rank_ba=1), a, b)


def of_run(plan: Plan) -> None:
    """Null, stability, distances, layers and rarefaction, of models that are no controls."""
    others = [name for name in plan.names if name != plan.anchor]
    rows = [
        (exchange, of, max(0, found // 5 - 2 + exchange) if exchange else found)
        for exchange in range(4)
        for of, found in [*((name, 60) for name in others), ("Rosetta neurons", 40), ("concepts", 20)]
    ]
    _write(plan, NULL, pd.DataFrame(rows, columns=["exchange", "of", "count"]))
    ks = np.arange(1, 21)
    _write(
        plan, STABILITY,
        pd.DataFrame({"neighbours": ks, "neurons": 8 * ks, "trusted": 3 * ks, "concepts": 20 - ks // 2,
                      "largest": np.maximum(1, ks**2 // 4), "jaccard": 1.0 / (1.0 + abs(ks - 5))}),
    )  # fmt: skip
    pairs = [(plan.anchor, name) for name in others]
    hubs = {"hubness_a": 1.5, "hub_a": 7, "hub_occurrences_a": 11, "hubness_b": 0.5, "hub_b": -1}
    distances = {"assigned": 12, "unmatched_a": 6, "unmatched_b": 3, **hubs}
    _write(
        plan, DISTANCES,
        pd.DataFrame([{"model_a": a, "model_b": b, "distance": 0.6 + 0.05 * place, **distances}
                      for place, (a, b) in enumerate(pairs)]),
    )  # fmt: skip
    layers = {name: [layer.name for layer in _units(plan, name).layers] for name in plan.names}
    _write(
        plan, LAYERS,
        pd.DataFrame([{"model_a": a, "layer_a": one, "model_b": b, "layer_b": other, "cka": 0.5 + 0.1 * (i == j),
                       "cka_null": 0.1, "rsa": 0.3, "rsa_null": 0.0}
                      for a, b in pairs for i, one in enumerate(layers[a]) for j, other in enumerate(layers[b])]),
    )  # fmt: skip
    _write(
        plan, RAREFACTION,
        pd.DataFrame([{"model_a": a, "model_b": b, "units": units, "draw": draw, "buddies": units // 2 + draw % 3}
                      for a, b in pairs for units in (4, 8, 16) for draw in range(20)]),
    )  # fmt: skip


def _examined(matches: pd.DataFrame) -> pd.DataFrame:
    r, share = matches["pearson"].to_numpy(np.float64), np.linspace(0.0, 1.0, len(matches))
    return matches[[*_PAIR, "pearson"]].assign(
        pearson_low=r - 0.15, pearson_high=r + 0.12, influence=0.2 * share**2, few_positions=share,
        pearson_robust=r * (1 - share), pearson_within=r * (1 - 0.8 * share),
    )  # fmt: skip


def _excess(plan: Plan, a: str, b: str) -> pd.DataFrame:
    units = _units(plan, a)
    random = np.random.default_rng(zlib.crc32(f"{a}~{b}".encode()))
    best, rotated = random.uniform(0.2, 0.9, len(units)), random.uniform(0.1, 0.5, len(units))
    return pd.DataFrame(
        {"model_a": a, "unit_a": np.arange(len(units)), "layer_a": units.layer_names(), "channel_a": units.channels(),
         "model_b": b, "pearson_best": best, "pearson_rotated": rotated, "excess": best - rotated}
    )  # fmt: skip


def _units(plan: Plan, model: str):
    return ActivationStore.read(plan.root, model).units


def _write(plan: Plan, artifact: Artifact, frame: pd.DataFrame, *names: str) -> None:
    path = artifact.path(*names)
    categories = tables.categories_of({name: _units(plan, name) for name in names or plan.names})
    tables.write(plan.root, path, described(path, frame), plan.fingerprint(artifact, *names), categories)

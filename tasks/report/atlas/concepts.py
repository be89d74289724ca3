"""Files of the atlas about concepts: one row of each, one list for the search, and a file for each."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd

from rosetta.mining.trust.tests import failures
from rosetta.recipe import Trust
from rosetta.view.atlas.script import numbers, put
from tasks.report.atlas.maps import ConceptMaps
from tasks.report.atlas.rankings import Rankings
from tasks.report.atlas.run import AtlasRun
from tasks.trust.summary import surviving

STRONGEST = 12
"""Concepts that the overview shows."""


def concepts_file(run: AtlasRun, rankings: Rankings) -> tuple[str, bytes]:
    """`data/concepts.js`: what cards, sorting and filters need."""
    return "data/concepts.js", put("concepts", _columns(run, rankings, run.tables["clusters"]))


def strongest_concepts(run: AtlasRun, rankings: Rankings) -> dict[str, list[Any]]:
    """The same of those that the overview shows, which need not wait for all: first those with a trusted neuron."""
    frame = run.tables["clusters"].assign(none=run.trusted == 0)
    frame = frame.sort_values(["none", "mean_pearson", "cluster"], ascending=[True, False, True])
    return _columns(run, rankings, frame.iloc[:STRONGEST])


def _columns(run: AtlasRun, rankings: Rankings, frame: pd.DataFrame) -> dict[str, list[Any]]:
    units = run.units[run.anchor]
    best = frame["anchor_unit"].to_numpy()
    layer = units.layer_index()[best]
    passing = surviving(run.neurons, run.recipe.trust, run.neurons["cluster"]).loc[frame["cluster"]]
    passing = passing.drop(columns="trusted")
    return {
        "id": frame["cluster"].tolist(),
        "size": frame["size"].tolist(),
        "mean": numbers(frame["mean_pearson"].to_numpy()),
        "min": numbers(frame["min_pearson"].to_numpy()),
        "trusted": run.trusted[frame.index].tolist(),
        "layer": layer.tolist(),
        "depth": numbers(layer / max(1, len(units.layers) - 1), 3),
        "unit": best.tolist(),
        **passing.astype(object).where(passing.notna(), None).to_dict("list"),
        "image": rankings.activation[frame["cluster"].to_numpy(), 0].tolist(),
    }


def search_file(run: AtlasRun) -> tuple[str, bytes]:
    """`data/search.js`: the units of every concept."""
    frame = run.rosetta
    own = frame[~frame["other"]]
    offset = np.concatenate([[0], np.cumsum(np.bincount(own["cluster"], minlength=run.concepts))])
    units = np.full((len(own), len(run.models)), -1, dtype=np.int32)
    units[(~frame["other"]).cumsum() - 1, frame["place"]] = frame["unit"]
    value = {
        "offset": offset.tolist(),
        "rosetta": own["rosetta"].tolist(),
        "mean": numbers(own["mean_pearson"].to_numpy()),
        "unit": units.ravel().tolist(),
    }
    return "data/search.js", put("search", value)


def concept_files(
    run: AtlasRun, rankings: Rankings, maps: ConceptMaps, near: list[list[list[Any]]]
) -> Iterator[tuple[str, bytes]]:
    """`data/concept/<c>.js` of every concept."""
    members, others = _members(run)
    beyond = dict(_buddies(others))
    for concept, neurons in _neurons(members, run.recipe.trust):
        value = {
            "neurons": neurons,
            "buddies": beyond.get(concept, []),
            "rankings": {
                "activation": rankings.activation[concept].tolist(),
                "agreement": rankings.agreement[concept].tolist(),
            },
            "maps": maps.maps(concept),
            "scatter": maps.scatter(concept),
            "near": near[concept],
        }
        yield f"data/concept/{concept}.js", put(f"concept/{concept}", value)


def _members(run: AtlasRun) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of all neurons with their ranks, and all further buddies of their anchor units, strongest first."""
    anchor = run.models[run.anchor].name
    buddies = run.tables["buddies"]
    buddies = buddies[buddies["model_a"] == anchor].rename(
        columns={"unit_a": "anchor_unit", "model_b": "model", "unit_b": "unit"}
    )
    key = ["anchor_unit", "model", "unit"]
    # The anchor's own row is no buddy of itself: it finds nothing, and has no ranks.
    members = run.rosetta.merge(buddies[[*key, "rank_ab", "rank_ba"]], on=key, how="left")
    own = run.rosetta.loc[~run.rosetta["other"], ["anchor_unit", "cluster"]]
    others = buddies[[*key, "pearson", "rank_ab", "rank_ba"]].merge(own, on="anchor_unit")
    others = others.merge(run.rosetta[key], on=key, how="left", indicator=True)
    others = others[others["_merge"] == "left_only"].assign(place=lambda rows: rows["model"].map(run.places))
    return members, others.sort_values(["cluster", "place", "pearson"], ascending=[True, True, False], kind="stable")


_MEMBER = {"place": "model", "unit": "unit", "pearson": "pearson", "rank_ab": "rank_ab", "rank_ba": "rank_ba"}
"""Columns of a member, and what the atlas calls them."""


def _neurons(members: pd.DataFrame, settings: Trust) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Concept by concept its neurons, each with its members and the tests that it fails."""
    columns = (numbers(members[name].to_numpy()) for name in _MEMBER)
    told = (dict(zip(_MEMBER.values(), row, strict=True)) for row in zip(*columns, strict=True))
    keys = zip(members["cluster"].tolist(), members["rosetta"].tolist(), strict=True)
    means = numbers(members["mean_pearson"].to_numpy())
    trusted = members["trusted"].tolist()
    failed = iter(failures(members[~members["other"]], settings))
    for concept, rows in groupby(zip(keys, means, trusted, told, strict=True), key=lambda row: row[0][0]):
        neurons = []
        for (_, rosetta), held in groupby(rows, key=lambda row: row[0]):
            listed = list(held)
            _, mean, verdict, _ = listed[0]  # the anchor's row is about the neuron
            mine = {"rosetta": rosetta, "mean": mean, "trusted": verdict, "failures": next(failed)}
            neurons.append({**mine, "members": [{**row[3], **_ranks(row[3])} for row in listed]})
        yield concept, neurons


def _ranks(member: dict[str, Any]) -> dict[str, int | None]:
    """Ranks are whole numbers; a table with gaps has made them floats."""
    return {name: None if member[name] is None else int(member[name]) for name in ("rank_ab", "rank_ba")}


def _buddies(rows: pd.DataFrame) -> Iterator[tuple[int, list[list[Any]]]]:
    """Concept by concept the further buddies."""
    names = ("place", "unit", "pearson", "rank_ab", "rank_ba", "anchor_unit")
    listed = zip(*(numbers(rows[name].to_numpy()) for name in names), strict=True)
    pairs = zip(rows["cluster"].tolist(), listed, strict=True)
    for concept, held in groupby(pairs, key=lambda pair: pair[0]):
        yield concept, [list(row) for _, row in held]

"""Files of the atlas about concepts: one row of each, one list for the search, and a file for each."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from rosetta.mining.trust.survival import surviving
from rosetta.mining.trust.tests import failures
from rosetta.recipe import Trust
from rosetta.view.atlas.script import numbers, put
from tasks.report.atlas.findings import Findings
from tasks.report.atlas.maps import ConceptMaps
from tasks.report.atlas.rankings import Rankings
from tasks.report.atlas.run import AtlasRun

STRONGEST = 12
"""Concepts that the overview shows."""


def concepts_file(run: AtlasRun, rankings: Rankings, findings: Findings) -> tuple[str, bytes]:
    """`data/concepts.js`: what cards, sorting and filters need."""
    return "data/concepts.js", put("concepts", _columns(run, rankings, findings, run.clusters))


def strongest_concepts(run: AtlasRun, rankings: Rankings, findings: Findings) -> dict[str, list[Any]]:
    """The same of those that the overview shows, which need not wait for all: first those with a trusted neuron."""
    frame = run.clusters.assign(none=run.trusted_by_concept == 0)
    frame = frame.sort_values(["none", "mean_pearson", "cluster"], ascending=[True, False, True])
    return _columns(run, rankings, findings, frame.iloc[:STRONGEST])


def _columns(run: AtlasRun, rankings: Rankings, findings: Findings, frame: pd.DataFrame) -> dict[str, list[Any]]:
    units = run.stores[run.anchor].units
    best = frame["anchor_unit"].to_numpy()
    layer = units.layer_index()[best]
    passing = surviving(run.neurons, run.recipe.trust, run.neurons["cluster"]).loc[frame["cluster"]]
    passing = passing.drop(columns="trusted")
    return {
        "id": frame["cluster"].tolist(),
        "size": frame["size"].tolist(),
        "mean": numbers(frame["mean_pearson"].to_numpy()),
        "min": numbers(frame["min_pearson"].to_numpy()),
        "trusted": run.trusted_by_concept[frame.index].tolist(),
        "layer": layer.tolist(),
        "depth": numbers(layer / max(1, len(units.layers) - 1), 3),
        "unit": best.tolist(),
        **{name: numbers(_best(run, column)[frame["cluster"]]) for name, column in _BEST.items()},
        **passing.astype(object).where(passing.notna(), None).to_dict("list"),
        "image": rankings.activation[frame["cluster"].to_numpy(), 0].tolist(),
        **findings.columns(frame["cluster"]),
    }


_BEST = {"best_held_out": "pearson_held_out", "best_excess": "excess"}
"""What concepts can be sorted by, and the column of neurons that it is of."""


def _best(run: AtlasRun, column: str) -> npt.NDArray[np.float64]:
    """(concept,) what its best neuron reaches with every model; NaN where that was measured of none."""
    best = run.neurons.groupby("cluster")[column].max()
    return best.reindex(range(run.concepts)).to_numpy(np.float64)


def search_file(run: AtlasRun) -> tuple[str, bytes]:
    """`data/search.js`: the units of every concept."""
    frame = run.members
    anchors = frame["model_index"] == 0
    own = frame[anchors]
    offset = np.concatenate([[0], np.cumsum(np.bincount(own["cluster"], minlength=run.concepts))])
    units = np.full((len(own), len(run.models)), -1, dtype=np.int32)
    units[anchors.cumsum() - 1, frame["model_index"]] = frame["unit"]
    value = {
        "offset": offset.tolist(),
        "rosetta": own["rosetta"].tolist(),
        "mean": numbers(own["mean_pearson"].to_numpy()),
        "unit": units.ravel().tolist(),
    }
    return "data/search.js", put("search", value)


def concept_files(
    run: AtlasRun, rankings: Rankings, maps: ConceptMaps, near: list[list[list[Any]]], findings: Findings
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
            "found": findings.of_concept(concept),
        }
        yield f"data/concept/{concept}.js", put(f"concept/{concept}", value)


def _members(run: AtlasRun) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of all neurons with their ranks, and all further buddies of their anchor units, strongest first."""
    buddies, matches = (
        frame[frame["model_a"] == run.anchor].rename(
            columns={"unit_a": "anchor_unit", "model_b": "model", "unit_b": "unit"}
        )
        for frame in (run.buddies, run.trust)
    )
    key = ["anchor_unit", "model", "unit"]
    # The anchor's own row is no buddy of itself: it finds nothing, and has no ranks.
    members = run.members.merge(buddies[[*key, "rank_ab", "rank_ba"]], on=key, how="left")
    members = members.merge(matches[[*key, "pearson_high"]], on=key, how="left")
    own = run.neurons[["anchor_unit", "cluster"]]
    others = buddies[[*key, "pearson", "rank_ab", "rank_ba"]].merge(own, on="anchor_unit")
    others = others.merge(run.members[key], on=key, how="left", indicator=True)
    others = others[others["_merge"] == "left_only"]
    others = others.assign(model_index=others["model"].map(run.index))
    order = ["cluster", "model_index", "pearson"]
    return members, others.sort_values(order, ascending=[True, True, False], kind="stable")


_MEMBER = {"model_index": "model", "unit": "unit", "pearson": "pearson", "rank_ab": "rank_ab", "rank_ba": "rank_ba"}
"""Columns of a member, and what the atlas calls them."""
_MEASURED = {
    "pearson_low": "low", "pearson_high": "high", "pearson_held_out": "held_out", "excess": "excess",
    "pearson_robust": "robust", "pearson_within": "within", "assigned": "one_to_one",
}  # fmt: skip
"""The same of what was measured of the match with the anchor's unit, beside its correlation."""


def _neurons(members: pd.DataFrame, settings: Trust) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Concept by concept its neurons, each with its members and the tests that it fails."""
    names = _MEMBER | _MEASURED
    columns = (numbers(members[name].to_numpy()) for name in names)
    listed = [dict(zip(names.values(), row, strict=True)) for row in zip(*columns, strict=True)]
    for member in listed:
        if member["rank_ab"] is None:  # of the anchor: what tables say there is of the weakest match
            member.update(dict.fromkeys(_MEASURED.values()))
        for rank in ("rank_ab", "rank_ba"):
            # Ranks are whole numbers; a table with gaps has made them floats.
            member[rank] = None if member[rank] is None else int(member[rank])
    facts = (members[name] for name in ("cluster", "rosetta", "trusted"))
    means = numbers(members["mean_pearson"].to_numpy())
    failed = iter(failures(members[members["model_index"] == 0], settings))
    rows = zip(*(column.tolist() for column in facts), means, listed, strict=True)
    for concept, of_concept in groupby(rows, key=lambda row: row[0]):
        neurons = []
        for rosetta, of_neuron in groupby(of_concept, key=lambda row: row[1]):
            first, *others = of_neuron
            _, _, trusted, mean, member = first  # the anchor's row is about the neuron
            neuron = {"rosetta": rosetta, "mean": mean, "trusted": trusted, "failures": next(failed)}
            neurons.append({**neuron, "members": [member, *(row[-1] for row in others)]})
        yield concept, neurons


def _buddies(rows: pd.DataFrame) -> Iterator[tuple[int, list[list[Any]]]]:
    """Concept by concept the further buddies."""
    names = ("model_index", "unit", "pearson", "rank_ab", "rank_ba", "anchor_unit")
    for concept, of_concept in rows.groupby("cluster"):
        columns = (numbers(of_concept[name].to_numpy()) for name in names)
        yield int(concept), [list(row) for row in zip(*columns, strict=True)]

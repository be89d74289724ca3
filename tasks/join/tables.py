"""Stage `tables`: strengths into pairs of buddies, what chance makes of them, and the dictionary of a join."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from rosetta.mining.buddies import Buddies, best_buddies
from rosetta.mining.join.chance import false_discovery_rates, joint_p_values
from rosetta.units import Units
from storage.artifacts import tables
from storage.artifacts.artifact import Artifact
from storage.artifacts.catalogue import (
    JOIN_AGREEMENT,
    JOIN_CONCEPTS,
    JOIN_ITSELF,
    JOIN_LINKS,
    JOIN_NEURONS,
    JOIN_NULL,
    JOIN_PAIRS,
)
from storage.artifacts.joined import StrengthStore
from storage.artifacts.nearest import neighbours_in
from tasks.join.dictionary import concept_frame, dictionary, neuron_frame
from tasks.join.inputs import JoinPlan
from tasks.join.itself import itself_frame
from tasks.join.links import Links, links
from tasks.join.strengths import exchanged_bands, orders_of
from tasks.stage.progress import track

Float64 = npt.NDArray[np.float64]

TABLES = (JOIN_PAIRS, JOIN_LINKS, JOIN_AGREEMENT, JOIN_NULL, JOIN_NEURONS, JOIN_CONCEPTS)


@dataclass(frozen=True)
class Found:
    """The pairs of two generators."""

    other: int
    """Which generator is joined with the first, by its place among the runs."""
    buddies: Buddies
    """By mean strength."""
    alone: tuple[npt.NDArray[np.int64], ...]
    """By pivot: the buddies through it alone, each pair one number."""
    links: tuple[Links, ...]
    """By pivot."""
    excess: Float64
    """(pair,) mean over the pivots that are no controls of strength over chance."""
    by_chance: tuple[Float64, ...]
    """By exchange: the same of the buddies that it makes."""


def written(plan: JoinPlan) -> tuple[Artifact, ...]:
    """The tables that a join has."""
    return (*TABLES, JOIN_ITSELF) if plan.settings.split else TABLES


def write_tables(plan: JoinPlan) -> None:
    """All tables of a join; that of the pairs last."""
    found = [_find(plan, other) for other in plan.others]
    frames: dict[Artifact, pd.DataFrame] = {
        JOIN_PAIRS: _whole([_pair_frame(plan, one) for one in found]),
        JOIN_LINKS: _whole([_link_frame(plan, one, pivot) for one in found for pivot in range(len(plan.pivots))]),
        JOIN_AGREEMENT: _agreement_frame(plan, found),
    }
    frames[JOIN_NULL] = _null_frame(plan, found, frames[JOIN_PAIRS])
    neurons, clusters = dictionary(plan, [one.buddies for one in found])
    frames[JOIN_NEURONS] = neuron_frame(plan, neurons, clusters, frames[JOIN_PAIRS])
    frames[JOIN_CONCEPTS] = concept_frame(neurons, clusters, frames[JOIN_NEURONS])
    if plan.settings.split:
        frames[JOIN_ITSELF] = itself_frame(plan, frames[JOIN_PAIRS])
    units = {name: plan.units(run) for run, name in enumerate(plan.names)}
    units |= {pivot.name: pivot.units for pivot in plan.pivots}
    categories = tables.categories_of(units)
    for table in reversed(written(plan)):
        tables.write(plan.root, table.path(), tables.typed(frames[table], table.columns), plan.fingerprint, categories)


def _whole(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(frames, ignore_index=True)


def _find(plan: JoinPlan, other: int) -> Found:
    store, k = StrengthStore.read(plan.root, plan.names[0], plan.names[other]), plan.neighbours

    def buddies(pivots: Sequence[int]) -> Buddies:
        return best_buddies(*neighbours_in(store.bands(pivots), k))

    pairs = buddies(plan.trained)
    alone = tuple(_codes(buddies([pivot]), store.units[1]) for pivot in range(len(plan.pivots)))
    of_pivots = tuple(links(plan, other, pivot, pairs.unit_a, pairs.unit_b) for pivot in range(len(plan.pivots)))
    exchanges = range(1, plan.settings.exchanges + 1)
    with track(f"exchange {'~'.join((plan.names[0], plan.names[other]))}", len(exchanges)) as advance:
        by_chance = []
        for number in exchanges:
            orders = orders_of(plan, other, number)
            made = best_buddies(*neighbours_in(exchanged_bands(plan, other, orders), k))
            through = [links(plan, other, pivot, made.unit_a, made.unit_b, orders[pivot]) for pivot in plan.trained]
            by_chance.append(_excess(through))
            advance(1)
    return Found(
        other, pairs, alone, of_pivots, _excess([of_pivots[pivot] for pivot in plan.trained]), tuple(by_chance)
    )


def _excess(through: Sequence[Links]) -> Float64:
    """(pair,) mean strength over chance of some pairs through several pivots."""
    return np.mean([link.strength - link.chance for link in through], axis=0)


def _codes(pairs: Buddies, units_b: int) -> npt.NDArray[np.int64]:
    return pairs.unit_a.astype(np.int64) * units_b + pairs.unit_b


def _sides(plan: JoinPlan, found: Found) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    units_of = ((0, found.buddies.unit_a), (found.other, found.buddies.unit_b))
    for side, (run, unit) in zip("ab", units_of, strict=True):
        columns |= {
            f"model_{side}": pd.Series([plan.names[run]] * len(unit), dtype="str"),
            f"unit_{side}": unit,
            **_labels(plan.units(run), unit, f"_{side}"),
        }
    return columns


def _labels(units: Units, unit: npt.NDArray[np.integer], suffix: str = "") -> dict[str, Any]:
    """Layer and channel of units; no text and −1 of those that are none."""
    there = unit >= 0
    layer = np.where(there, units.layer_names()[unit], "")
    return {f"layer{suffix}": layer, f"channel{suffix}": np.where(there, units.channels()[unit], -1)}


def _pair_frame(plan: JoinPlan, found: Found) -> pd.DataFrame:
    codes = _codes(found.buddies, len(plan.units(found.other)))
    trained = [found.links[pivot] for pivot in plan.trained]
    controls = [link for link, pivot in zip(found.links, plan.pivots, strict=True) if pivot.control]
    p_value = joint_p_values(np.stack([link.p_value for link in trained]))
    q_value = false_discovery_rates(found.excess, found.by_chance)
    none = np.full(len(codes), np.nan, np.float32)
    return pd.DataFrame(
        {
            **_sides(plan, found),
            "strength": found.buddies.pearson,
            "rank_ab": found.buddies.rank_ab,
            "rank_ba": found.buddies.rank_ba,
            "weakest": np.min([link.strength for link in trained], axis=0),
            "agree": np.sum([np.isin(codes, found.alone[pivot]) for pivot in plan.trained], axis=0),
            "control": np.fmax.reduce([link.strength for link in controls]) if controls else none,
            "exact": np.all([link.exact for link in trained], axis=0),
            "excess": found.excess,
            "p_value": p_value,
            "q_value": q_value,
            "trusted": (p_value <= plan.settings.q) & (q_value <= plan.settings.q),
        }
    )


def _link_frame(plan: JoinPlan, found: Found, pivot: int) -> pd.DataFrame:
    link, of = found.links[pivot], plan.pivots[pivot]
    return pd.DataFrame(
        {
            **_sides(plan, found),
            "pivot": of.name,
            "unit": link.unit,
            **_labels(of.units, link.unit),
            "pearson_a": link.pearson[0],
            "pearson_b": link.pearson[1],
            "strength": link.strength,
            "chance": link.chance,
            "alone": np.isin(_codes(found.buddies, len(plan.units(found.other))), found.alone[pivot]),
            "p_value": link.p_value,
            "control": of.control,
        }
    )


def _agreement_frame(plan: JoinPlan, found: Sequence[Found]) -> pd.DataFrame:
    rows = []
    for one in found:
        every = len(plan.units(0)) * len(plan.units(one.other))
        for (a, of_a), (b, of_b) in combinations(zip(plan.pivots, one.alone, strict=True), 2):
            both = len(np.intersect1d(of_a, of_b))
            rows.append(
                (plan.names[one.other], a.name, b.name, len(of_a), len(of_b), both, len(of_a) * len(of_b) / every,
                 a.control or b.control)
            )  # fmt: skip
    return pd.DataFrame(rows, columns=[column.name for column in JOIN_AGREEMENT.columns])


def _null_frame(plan: JoinPlan, found: Sequence[Found], pairs: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for one in found:
        name = plan.names[one.other]
        least = pairs.loc[pairs["trusted"] & (pairs["model_b"] == name), "excess"].min()
        for exchange, excess in enumerate((one.excess, *one.by_chance)):
            rows.append((name, exchange, len(excess), int(np.count_nonzero(excess >= least))))
    return pd.DataFrame(rows, columns=[column.name for column in JOIN_NULL.columns])

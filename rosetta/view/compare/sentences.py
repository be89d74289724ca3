"""What a comparison says in sentences, on its page and in the terminal."""

from collections.abc import Mapping
from typing import Any

from rosetta.view.numbers import chance, correlation, count, counted, ten_to

Row = Mapping[str, Any]
"""Of a table; what is not a number may be None."""


def kept(row: Row) -> str:
    """How many neurons stay: a row of the overlaps."""
    kind = "trusted neuron" if row["of"] == "trusted" else "neuron"
    if not row["first"]:
        there = counted(row["second"], kind, f"{kind}s") if row["second"] else "none"
        return f"The first run has no {kind}, the second has {there}"
    whole = " with the same units in all models" if row["by"] == "members" else ""
    stay = "stays" if row["both"] == 1 else "stay"
    return (
        f"{count(row['both'])} of {counted(row['first'], kind, f'{kind}s')} {stay}{whole}"
        f" ({expected(row['both_chance'])} by chance); the second run has {count(row['second'])}"
    )


def concepts(found: Row) -> str:
    """How many concepts find a partner: the counts over concepts."""
    if not found["first"]:
        there = counted(int(found["second"]), "concept", "concepts") if found["second"] else "none"
        return f"The first run has no concept, the second has {there}"
    finds = "finds" if found["matched"] == 1 else "find"
    return (
        f"{count(int(found['matched']))} of {counted(int(found['first']), 'concept', 'concepts')} {finds} a partner"
        f" ({expected(found['matched_chance'])} by chance), {count(int(found['same']))} of exactly the same units; mean"
        f" overlap {correlation(found['overlap'])} ({correlation(found['overlap_chance'])} by chance)"
    )


def agreement(row: Row) -> str:
    """How strengths correlate: a row of the strengths."""
    what = "neurons" if row["of"] == "neurons" else f"buddies in {row['model']}"
    pearson = row["pearson"]
    if pearson is None or pearson != pearson:
        return f"Strengths of the {count(row['count'])} {what} of both runs: too few, or all the same"
    return (
        f"Strengths of the {count(row['count'])} {what} of both runs: r {correlation(pearson)}, and 0.00 ±"
        f" {correlation(row['deviation_chance'])} by chance"
    )


def probability(value: float) -> str:
    """A p-value; one too small for a number of the machine is no 0."""
    return f"< {ten_to(-300)}" if value < 1e-300 else chance(value)


def p_is(value: float) -> str:
    """``p = 0.031``."""
    found = probability(value)
    return f"p {found}" if found.startswith("<") else f"p = {found}"


def expected(value: float) -> str:
    """A mean count by chance: ``53``, ``3.5``, ``0.0``."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"

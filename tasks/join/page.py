"""Stage `page`: the concepts of a join, one generator's images beside the other's, as a page and as a figure."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from rosetta.view.join.contents import JoinConcept, JoinPage, Rows, Side, Table
from rosetta.view.join.page import render_join
from rosetta.view.numbers import chance, correlation, count, counted, knob, percent
from rosetta.view.pictures.sheet import Heading, Sheet, encode, print_sheet
from rosetta.view.pictures.sprite import TILE, webp
from storage.artifacts import seals, tables
from storage.artifacts.artifact import Artifact
from storage.artifacts.catalogue import (
    FIGURES,
    JOIN_AGREEMENT,
    JOIN_CONCEPTS,
    JOIN_ITSELF,
    JOIN_LINKS,
    JOIN_NEURONS,
    JOIN_NULL,
    JOIN_PAIRS,
    REPORT,
    Instance,
)
from storage.run.members import Unit
from storage.run.notebook import strip, tiles
from tasks.join.inputs import JoinPlan
from tasks.join.itself import ALL
from tasks.stage.progress import track

FIGURE = FIGURES.path("join.png")
PAGE = Instance(REPORT).index
_SHOWN, _IMAGES = 60, 6
"""Concepts on the page, and images of each."""
_DRAWN, _DRAWN_IMAGES = 6, 3
"""The same of the figure."""

Pixels = npt.NDArray[np.uint8]


class _Tables:
    """The tables of a join."""

    def __init__(self, plan: JoinPlan) -> None:
        def read(table: Artifact) -> pd.DataFrame:
            return tables.read(plan.root, table.path())

        self.pairs, self.links, self.null = read(JOIN_PAIRS), read(JOIN_LINKS), read(JOIN_NULL)
        self.agreement, self.concepts = read(JOIN_AGREEMENT), read(JOIN_CONCEPTS)
        self.neurons = read(JOIN_NEURONS)
        self.itself = read(JOIN_ITSELF) if plan.settings.split else None

    def best(self, cluster: int) -> pd.DataFrame:
        """The rows of a concept's strongest neuron; of those that are trusted, where there is one."""
        rows = self.neurons[self.neurons["cluster"] == cluster]
        rows = rows[rows["trusted"]] if rows["trusted"].any() else rows
        return rows[rows["rosetta"] == rows["rosetta"].min()]


def write_page(plan: JoinPlan) -> None:
    """The page, its pictures first, and the figure."""
    seals.discard(plan.root, REPORT.path())
    known = _Tables(plan)
    by_trust = known.concepts.sort_values("trusted_neurons", key=lambda number: number == 0, kind="stable")
    shown = by_trust["cluster"].tolist()[:_SHOWN]
    concepts = []
    with track("page", len(shown)) as advance:
        for cluster in shown:
            concepts.append(_concept(plan, known, cluster))
            advance(1)
    page = JoinPage(
        title=" and ".join(plan.names),
        lede=_lede(plan, known),
        concepts=tuple(concepts),
        left_out=len(by_trust) - len(shown),
        tables=tuple(_tables(plan, known)),
        settings=_settings(plan),
        fingerprint=plan.fingerprint.digest,
        command=command(plan),
    )
    _write_figure(plan, known, shown[:_DRAWN])
    plan.root.write_bytes(PAGE, render_join(page).encode())


def command(plan: JoinPlan) -> str:
    """The command line of a join, for people."""
    roots = " ".join(run.root.shown for run in plan.runs)
    return f"rosetta join {roots} --root {plan.root.shown}{' --split' if plan.settings.split else ''}"


def _units(plan: JoinPlan, neuron: pd.DataFrame) -> list[Unit]:
    """A neuron's unit of each generator."""
    own = neuron.set_index("model")["unit"]
    return [run.unit(run.anchor, int(own[name])) for run, name in zip(plan.runs, plan.names, strict=True)]


def _concept(plan: JoinPlan, known: _Tables, cluster: int) -> JoinConcept:
    row = known.concepts.set_index("cluster").loc[cluster]
    neuron = known.best(cluster)
    sides = []
    for place, (unit, name) in enumerate(zip(_units(plan, neuron), plan.names, strict=True)):
        images = unit.top(_IMAGES)
        picture = f"pictures/{cluster:04d}-{place}.webp"
        plan.root.write_bytes(f"{REPORT.path()}/{picture}", webp(strip(unit, images, TILE)))
        sides.append(Side(name, unit.label, picture, tuple(f"image {image}" for image in images)))
    trusted = bool(neuron["trusted"].iloc[0])
    rows = list(_pairs_of(known.pairs, neuron, plan.names))
    links = [_link(one, len(plan.names)) for pair in rows for one in _links_of(known.links, pair)]
    facts = (
        counted(int(row["size"]), "neuron", "neurons"),
        f"{count(int(row['trusted_neurons']))} trusted",
        f"strength {correlation(min(pair['strength'] for pair in rows))}",
        f"mean over all models {correlation(float(neuron['mean_strength'].iloc[0]))}",
    )
    return JoinConcept(cluster, facts, trusted, _verdict(plan, rows), tuple(sides), tuple(links))


def _pairs_of(pairs: pd.DataFrame, neuron: pd.DataFrame, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    own = neuron.set_index("model")["unit"]
    for name in names[1:]:
        same = (pairs["model_b"] == name) & (pairs["unit_a"] == own[names[0]]) & (pairs["unit_b"] == own[name])
        yield pairs[same].iloc[0].to_dict()


def _links_of(links: pd.DataFrame, pair: dict[str, Any]) -> list[dict[str, Any]]:
    same = np.logical_and.reduce([links[key] == pair[key] for key in ("model_b", "unit_a", "unit_b")])
    found: list[dict[str, Any]] = links[same].to_dict("records")
    return found


def _link(link: dict[str, Any], generators: int) -> tuple[str, ...]:
    through = f"{link['pivot']}{' (control)' if link['control'] else ''}"
    if generators > 2:
        through = f"{through}, to {link['model_b']}"
    unit = f"{link['layer']} channel {link['channel']}" if link["unit"] >= 0 else "none"
    numbers = [correlation(link[key]) for key in ("pearson_a", "pearson_b", "strength", "chance")]
    return (through, unit, *numbers, "yes" if link["alone"] else "no", chance(link["p_value"]))


def _verdict(plan: JoinPlan, pairs: Sequence[dict[str, Any]]) -> str:
    parts = []
    for pair in pairs:
        control = "" if np.isnan(pair["control"]) else f", {correlation(pair['control'])} through the best control"
        unsure = "" if pair["exact"] else "; correlations that a run did not keep may make it stronger"
        parts.append(
            f"{pair['model_a']} and {pair['model_b']}: strength {correlation(pair['strength'])},"
            f" {correlation(pair['excess'])} over chance, weakest"
            f" {correlation(pair['weakest'])}{control}; buddies through {pair['agree']} of {len(plan.trained)} models"
            f" alone; p = {chance(pair['p_value'])}, false discovery rate {chance(pair['q_value'])}{unsure}."
        )
    return " ".join(parts)


def _lede(plan: JoinPlan, known: _Tables) -> str:
    trusted = int((known.concepts["trusted_neurons"] > 0).sum())
    through = ", ".join(plan.pivots[pivot].name for pivot in plan.trained)
    return (
        f"{counted(len(known.concepts), 'concept', 'concepts')} with units in {' and '.join(plan.names)}, through"
        f" {through}; {count(trusted)} with a trusted neuron."
    )


def _tables(plan: JoinPlan, known: _Tables) -> Iterator[Table]:
    if known.itself is not None:
        yield _itself(known.itself)
    rows = []
    for name in plan.names[1:]:
        pairs, null = known.pairs[known.pairs["model_b"] == name], known.null[known.null["model_b"] == name]
        by_chance = null[null["exchange"] > 0]
        rows.append(
            (name, count(len(pairs)), count(round(by_chance["buddies"].mean())), count(int(pairs["trusted"].sum())),
             f"{by_chance['strong'].mean():.1f}", count(int(pairs["exact"].sum())))
        )  # fmt: skip
    yield Table(
        "chance", "Chance",
        ("with", "pairs of buddies", "by chance", "trusted", "of these by chance", "exact"), tuple(rows),
        note="By chance: with the units of the discriminative models exchanged within their layers on the side of the"
        f" second generator, the mean of {counted(plan.settings.exchanges, 'exchange', 'exchanges')}. Buddies there are"
        " always; what counts is how many chance makes that exceed it as much as the trusted ones do.",
    )  # fmt: skip
    if len(known.agreement):
        yield Table(
            "agreement", "Agreement", ("through", "and through", "pairs of the first", "of the second", "both",
            "both if they were independent"),
            tuple(
                (one.pivot_a, f"{one.pivot_b}{' (with a control)' if one.control else ''}", count(one.pairs_a),
                 count(one.pairs_b), count(one.both), f"{one.expected:.1f}")
                for one in known.agreement.itertuples()
            ),
            words=2, note="Buddies that each model finds by itself.",
        )  # fmt: skip


def _itself(frame: pd.DataFrame) -> Table:
    wide = frame.pivot(index=["through", "control", "layer"], columns="of", values=["units", "first", "within_5"])
    order = frame[["through", "control", "layer"]].drop_duplicates()
    rows: Rows = tuple(
        (
            f"{'all models together' if one.through == ALL else one.through}{' (control)' if one.control else ''}",
            "all layers" if one.layer == ALL else one.layer,
            *(
                text
                for of in (ALL, "trusted")
                for text in (
                    count(int(wide.loc[key, ("units", of)])),
                    percent(wide.loc[key, ("first", of)]),
                    percent(wide.loc[key, ("within_5", of)]),
                )
            ),
        )
        for one in order.itertuples()
        for key in [(one.through, one.control, one.layer)]
    )
    columns = ("through", "layer", "units", "nearest", "within 5", "trusted units", "nearest", "within 5")
    note = (
        "Both runs are of one generator over images apart, so each unit should find itself. Units: those that are not"
        " constant. Trusted: those of a trusted pair."
    )
    return Table("itself", "Finding itself", columns, rows, words=2, note=note)


def _settings(plan: JoinPlan) -> tuple[tuple[str, str], ...]:
    of_runs = [(name, f"{run.anchor} of {run.root.shown}") for name, run in zip(plan.names, plan.runs, strict=True)]
    of_pivots = [
        (f"through {one.name}", f"{', '.join(one.names)}; weights {one.weights_sha256[:12]}") for one in plan.pivots
    ]
    settings = [("neighbours", str(plan.neighbours)), ("exchanges", str(plan.settings.exchanges)),
                ("q", knob(plan.settings.q)), ("seed", str(plan.settings.seed))]  # fmt: skip
    return (*of_runs, *of_pivots, *settings)


def _write_figure(plan: JoinPlan, known: _Tables, shown: Sequence[int]) -> None:
    seals.discard(plan.root, FIGURE)
    if not shown:
        return
    rows = []
    for cluster in shown:
        units = _units(plan, known.best(cluster))
        rows.append(np.concatenate([tiles(unit, unit.top(_DRAWN_IMAGES), 300) for unit in units]))
    headings = tuple(Heading(name, (f"image {place}",)) for name in plan.names for place in range(1, _DRAWN_IMAGES + 1))
    caption = (
        f"Concepts of {' and '.join(plan.names)}, joined through"
        f" {', '.join(plan.pivots[pivot].name for pivot in plan.trained)}. Each row is a concept, shown by its"
        " strongest Rosetta neuron over the images of each generator where its unit there peaks highest."
    )
    sheet = Sheet(np.stack(rows), tuple(f"{cluster}" for cluster in shown), headings, "concept")
    plan.root.write_bytes(FIGURE, encode(print_sheet(sheet, caption), "png"))

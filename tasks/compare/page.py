"""Stage `page`: what stays, what leaves and what comes between two runs, with the images of both."""

from collections.abc import Iterator, Sequence

import pandas as pd

from rosetta.view.compare.contents import Alone, ComparePage, MatchedConcept
from rosetta.view.compare.page import render_compare
from rosetta.view.compare.sentences import concepts as about_concepts
from rosetta.view.compare.sentences import expected, kept, p_is, probability
from rosetta.view.join.contents import Side, Table
from rosetta.view.numbers import correlation, count, counted
from rosetta.view.pictures.sprite import TILE, webp
from storage.artifacts import seals
from storage.artifacts.catalogue import REPORT, Instance
from storage.filesystem.root import Root
from storage.run.notebook import strip
from tasks.compare.concepts import concept_counts
from tasks.compare.inputs import ComparePlan
from tasks.compare.overlaps import ALL, ANCHOR, MEMBERS, TRUSTED
from tasks.compare.tables import Comparison, read_tables
from tasks.stage.progress import track

PAGE = Instance(REPORT).index
_SHOWN, _ALONE, _IMAGES = 60, 24, 6
"""Matched concepts on the page, those of one run alone, and images of each."""


def write_page(plan: ComparePlan, root: Root) -> None:
    """The page, its pictures first."""
    seals.discard(root, REPORT.path())
    found = read_tables(root)
    matched = found.concepts[(found.concepts["cluster_first"] >= 0) & (found.concepts["cluster_second"] >= 0)]
    alone = [found.concepts[found.concepts[f"cluster_{other}"] < 0] for other in ("second", "first")]
    shown = matched.head(_SHOWN).to_dict("records")
    concepts = []
    with track("page", len(shown)) as advance:
        for row in shown:
            concepts.append(_matched(plan, root, row))
            advance(1)
    left, came = (_alone(plan, root, rows, run) for run, rows in enumerate(alone))
    overall = {(row.of, row.by): row._asdict() for row in found.overlaps.itertuples() if row.layer == ALL}
    scatter, note = _scatter(plan, found.neurons)
    page = ComparePage(
        title=" and ".join(plan.names),
        headline=f"{kept(overall[ALL, ANCHOR])}.",
        second=f"{kept(overall[ALL, MEMBERS])}. {about_concepts(concept_counts(found.concepts).as_dict())}.",
        anchor=plan.anchor,
        tables=tuple(_tables(plan, found)),
        scatter=scatter,
        scatter_note=note,
        concepts=tuple(concepts),
        left_out=len(matched) - len(shown),
        left=left,
        came=came,
        settings=_settings(plan),
        fingerprint=plan.fingerprint.digest,
        command=command(plan, root),
    )
    root.write_bytes(PAGE, render_compare(page).encode())


def command(plan: ComparePlan, root: Root) -> str:
    """The command line of a comparison, for people."""
    return f"rosetta compare {' '.join(run.root.shown for run in plan.runs)} --root {root.shown}"


def _side(plan: ComparePlan, root: Root, run: int, cluster: int, name: str, size: int) -> Side:
    """A concept of one run, by its strongest neuron; writes its picture."""
    unit = plan.runs[run].concept(cluster).unit(plan.anchor)
    images = unit.top(_IMAGES)
    picture = f"pictures/{run + 1}-{cluster:04d}.webp"
    root.write_bytes(f"{REPORT.path()}/{picture}", webp(strip(unit, images, TILE)))
    about = f"{_called(cluster, name)}, {counted(size, 'neuron', 'neurons')}; {unit.label}"
    return Side(plan.names[run], about, picture, tuple(f"image {image}" for image in images))


def _called(cluster: int, name: str) -> str:
    return f"concept {cluster} “{name}”" if name else f"concept {cluster}"


def _matched(plan: ComparePlan, root: Root, row: dict[str, object]) -> MatchedConcept:
    found = pd.Series(row)
    sides = tuple(
        _side(plan, root, run, int(found[f"cluster_{which}"]), found[f"name_{which}"], int(found[f"size_{which}"]))
        for run, which in enumerate(("first", "second"))
    )
    either = found["size_first"] + found["size_second"] - found["shared"]
    facts = (
        f"{count(int(found['shared']))} of {counted(int(either), 'unit', 'units')} shared",
        f"overlap {correlation(found['overlap'])}, {correlation(found['overlap_chance'])} by chance",
        p_is(float(found["p_value"])),
    )
    names = dict.fromkeys(str(found[f"name_{which}"]) for which in ("first", "second") if found[f"name_{which}"])
    title = f"Concept {found['cluster_first']} and {found['cluster_second']}"
    return MatchedConcept(int(found["cluster_first"]), " · ".join([title, *names]), facts, sides)


def _alone(plan: ComparePlan, root: Root, rows: pd.DataFrame, run: int) -> Alone:
    which = ("first", "second")[run]
    columns = [f"cluster_{which}", f"name_{which}", f"size_{which}"]
    shown = rows[columns].head(_ALONE).itertuples(index=False, name=None)
    sides = tuple(_side(plan, root, run, int(cluster), name, int(size)) for cluster, name, size in shown)
    return Alone(sides, max(0, len(rows) - _ALONE))


def _scatter(plan: ComparePlan, neurons: pd.DataFrame) -> tuple[str, str]:
    """The plot of strengths, and what is said below."""
    from rosetta.view.plots.strengths import strength_scatter

    both = neurons[neurons["first"] & neurons["second"]]
    if not len(both):
        return "", ""
    strengths = (both["strength_first"].to_numpy(), both["strength_second"].to_numpy())
    trusted = (both["trusted_first"] & both["trusted_second"]).to_numpy()
    first, second = plan.names
    note = (
        f"Each point is a unit of {plan.anchor} that is a Rosetta neuron in both runs: its mean correlation with its"
        f" units of {', '.join(plan.models)}."
    )
    return strength_scatter(strengths, trusted, (first, second)), note


def _tables(plan: ComparePlan, found: Comparison) -> Iterator[Table]:
    first, second = plan.names
    rows = tuple((one.what, one.first, one.second) for one in plan.differences)
    note = "" if rows else "The recipes, images, models, layers and weights of both runs are the same."
    yield Table("differences", "Differences", ("what", first, second), rows, words=3, note=note)
    overlaps = found.overlaps
    columns = (first, second, "both", "by chance", "Jaccard", "by chance", "p")
    yield Table(
        "neurons", "Neurons", ("the same by", *columns), tuple(_overlaps(overlaps[overlaps["layer"] == ALL])),
        note=f"Two neurons are the same by the anchor where their unit of {plan.anchor} is, and by all members where"
        f" their units of {', '.join(plan.models)} are, too. By chance: each run draws as many neurons in each layer"
        " at random. Jaccard: neurons of both runs over those of either. p: how likely chance shares as many.",
    )  # fmt: skip
    layers = overlaps[(overlaps["layer"] != ALL) & (overlaps["by"] == ANCHOR)]
    layers = layers[(layers["of"] == ALL) | layers["of"].map(layers.groupby("of")["first"].sum()).gt(0)]
    yield Table("layers", "Layers", ("layer", *columns), tuple(_overlaps(layers, by_layer=True)), note="By the anchor.")
    yield Table(
        "strengths", "Strengths", ("of", "in both", f"mean in {first}", f"mean in {second}", "r", "chance ±"),
        tuple(
            ("neurons" if row["model"] == ALL else f"buddies in {row['model']}", count(row["count"]),
             *(correlation(row[name]) for name in ("mean_first", "mean_second", "pearson", "deviation_chance")))
            for row in found.strengths.to_dict("records")
        ),
        note="Whether what both runs found is about as strong in both. Permuted, the correlation r is 0 on average.",
    )  # fmt: skip


def _overlaps(rows: pd.DataFrame, by_layer: bool = False) -> Iterator[tuple[str, ...]]:
    for row in rows.itertuples():
        of = "trusted neurons" if row.of == TRUSTED else "neurons"
        head = f"{of}, by {'the anchor' if row.by == ANCHOR else 'all members'}"
        if by_layer:
            head = f"{row.layer}, trusted" if row.of == TRUSTED else row.layer
        yield (
            head, count(row.first), count(row.second), count(row.both), expected(row.both_chance),
            correlation(row.jaccard), correlation(row.jaccard_chance),
            probability(row.p_value) if row.first or row.second else "–",
        )  # fmt: skip


def _settings(plan: ComparePlan) -> tuple[tuple[str, str], ...]:
    runs: Sequence[tuple[str, str]] = [(name, run.root.shown) for name, run in zip(plan.names, plan.runs, strict=True)]
    of_models = [(model, ", ".join(layer.name for layer in units.layers)) for model, units in plan.units.items()]
    return (*runs, *of_models, ("exchanges", str(plan.settings.exchanges)), ("seed", str(plan.settings.seed)))

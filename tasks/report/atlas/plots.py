"""The plots of the atlas's overview, out of tables and nearest neighbours."""

from collections.abc import Iterator

import numpy as np

from rosetta.naming.settings import LEAST_IOU
from rosetta.view.atlas.script import put
from rosetta.view.plots import svg
from rosetta.view.plots.correlations import correlation_histogram
from rosetta.view.plots.depth import correlation_over_depth
from rosetta.view.plots.layers import layer_matches
from rosetta.view.plots.names import named_by_layer
from rosetta.view.plots.selectivity import selectivity_plot
from rosetta.view.plots.sizes import draw_sizes
from tasks.report.atlas.findings import Findings
from tasks.report.atlas.run import AtlasRun
from tasks.report.atlas.units import Known


def plots_file(run: AtlasRun, known: Known, findings: Findings) -> tuple[str, bytes]:
    """`data/plots.js`."""
    anchor = run.anchor
    plots = [
        (
            "How strong the matches are",
            f"For every model: the highest correlation that each unit of {anchor} finds there, and the correlations of "
            "the pairs that are buddies; the dotted line is their median. Trained models say something where they "
            "reach beyond the control.",
            _histogram(run, known),
        ),
        (
            "How deep they lie",
            f"The highest correlation of each unit with any unit of {anchor}, by the depth of its layer; for {anchor} "
            "itself with any unit of a model that is no control.",
            _depth(run, known),
        ),
        (
            "How large the concepts are",
            "Rosetta neurons to a concept." if run.concepts else "There is no concept.",
            _sizes(run),
        ),
        (
            "How selective the units are",
            "Kurtosis of a unit’s activation over images and positions: 3 for a normal distribution, more the rarer "
            "and stronger its peaks. Half share: the smallest share of the images that carries half of its positive "
            "activation. Thick: the middle half of the units. Thin: 5th to 95th percentile. The dot: the median.",
            _selectivity(run),
        ),
    ]
    plots += _names(run, findings)
    for model in run.models[1:]:
        counts = run.buddies_by_layer(model)
        drawn = layer_matches(counts.to_numpy(), list(counts.index), list(counts.columns), f"{anchor} × {model}")
        buddies = len(run.with_anchor(run.buddies, model))
        plots.append((f"Where they lie: {anchor} × {model}", f"{buddies:,} buddies, layer by layer.", drawn))
    value = [{"title": title, "caption": caption, "svg": drawn} for title, caption, drawn in plots if drawn]
    return "data/plots.js", put("plots", value)


def _names(run: AtlasRun, findings: Findings) -> Iterator[tuple[str, str, str]]:
    """What the concepts of each layer of the anchor are called, by words and by masks."""
    columns, units = findings.columns(run.clusters["cluster"]), run.stores[run.anchor].units
    layer = units.layer_index()[run.clusters["anchor_unit"].to_numpy()]
    of_kind = {"name": ("words", "a word above chance"), "label": ("masks", f"a label with an IoU above {LEAST_IOU}")}
    for column, (by, must) in of_kind.items():
        if getattr(findings, f"{column}s") is None:
            continue
        called = columns[column]
        named = sum(one is not None for one in called)
        yield (
            f"What they are called, by {by}",
            f"Concepts by the layer of {run.anchor} in which their strongest unit lies: {named:,} of {run.concepts:,}"
            f" have {must}. Beside each bar the most frequent.",
            named_by_layer(called, layer, run.layers(run.anchor)) if named else "",
        )


def _others(run: AtlasRun, known: Known) -> list[str]:
    """The models that the anchor was correlated with, but itself."""
    return [model for model in run.models[1:] if model in known[run.anchor]]


def _histogram(run: AtlasRun, known: Known) -> str:
    others = _others(run, known)
    best = {model: known[run.anchor][model].best for model in others}
    buddies = {model: run.with_anchor(run.buddies, model)["pearson"].to_numpy() for model in others}
    return correlation_histogram(best, buddies, run.controls)


def _depth(run: AtlasRun, known: Known) -> str:
    of_anchor = [known[run.anchor][model].best for model in run.targets if model in known[run.anchor]]
    # fmax: a unit without a correlation in one model may have one in the next.
    best = {run.anchor: np.fmax.reduce(of_anchor)} if of_anchor else {}
    best |= {model: known[model][run.anchor].best for model in _others(run, known)}
    by_layer = {model: [values[span] for _, span in run.stores[model].units.spans()] for model, values in best.items()}
    return correlation_over_depth(by_layer, run.controls, run.anchor)


def _sizes(run: AtlasRun) -> str:
    if not run.concepts:
        return ""
    sizes, trusted = run.clusters["size"].to_numpy(), run.trusted_by_concept if run.judged else None
    return svg.drawn((4.1, 2.4), "Concepts by size", lambda axes: draw_sizes(axes, sizes, trusted))


def _selectivity(run: AtlasRun) -> str:
    """Kurtosis and half share of the units in Rosetta neurons, and of all others."""
    inside, outside = {}, {}
    for model in (run.anchor, *run.targets):
        rows = run.units_of[model]
        matched = rows["unit"].isin(run.rosetta.loc[run.rosetta["model"] == model, "unit"])
        inside[model], outside[model] = (
            (chosen["kurtosis"].to_numpy(), chosen["half_share"].to_numpy())
            for chosen in (rows[matched], rows[~matched])
        )
    return selectivity_plot(inside, outside)

"""The plots of the atlas's overview, out of tables and nearest neighbours."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from rosetta.view.atlas.script import put
from rosetta.view.plots import svg
from rosetta.view.plots.correlations import correlation_histogram
from rosetta.view.plots.depth import correlation_over_depth
from rosetta.view.plots.layers import layer_matches
from rosetta.view.plots.selectivity import selectivity_plot
from rosetta.view.plots.sizes import draw_sizes
from tasks.report.atlas.run import AtlasRun
from tasks.report.atlas.units import Known

Float32 = npt.NDArray[np.float32]


def plots_file(run: AtlasRun, known: Known) -> tuple[str, bytes]:
    """`data/plots.js`."""
    anchor = run.models[run.anchor].name
    found = [
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
        *(
            (f"Where they lie: {anchor} × {spec.name}", f"{len(pairs):,} buddies, layer by layer.", _layers(run, place))
            for place, spec in enumerate(run.models)
            if place != run.anchor
            for pairs in [run.pairs(run.tables["buddies"], spec.name)]
        ),
    ]
    told = [{"title": title, "caption": caption, "svg": drawn} for title, caption, drawn in found if drawn]
    return "data/plots.js", put("plots", told)


def _best(known: Known, a: int, b: int) -> Float32:
    """(unit_a,) the highest correlation of each unit of A with any unit of B."""
    return known[a][b].found.pearson[:, 0]


def _others(run: AtlasRun, known: Known) -> list[int]:
    """The models that the anchor was correlated with, but itself."""
    return [place for place in range(len(run.models)) if place != run.anchor and place in known[run.anchor]]


def _histogram(run: AtlasRun, known: Known) -> str:
    best, buddies = {}, {}
    for place in _others(run, known):
        name = run.models[place].name
        best[name] = _best(known, run.anchor, place)
        buddies[name] = run.pairs(run.tables["buddies"], name)["pearson"].to_numpy()
    return correlation_histogram(best, buddies, run.controls)


def _depth(run: AtlasRun, known: Known) -> str:
    others = _others(run, known)
    asked = [_best(known, run.anchor, place) for place in others if not run.models[place].control]
    # fmax: a unit without a correlation in one model may have one in the next.
    values = {run.anchor: np.fmax.reduce(asked)} if asked else {}
    values |= {place: _best(known, place, run.anchor) for place in others}
    by_layer = {
        run.models[place].name: [best[span] for _, span in run.units[place].spans()] for place, best in values.items()
    }
    return correlation_over_depth(by_layer, run.controls, run.models[run.anchor].name)


def _sizes(run: AtlasRun) -> str:
    if not run.concepts:
        return ""
    sizes, trusted = run.tables["clusters"]["size"].to_numpy(), run.trusted if run.judged else None
    return svg.drawn((4.1, 2.4), "Concepts by size", lambda axes: draw_sizes(axes, sizes, trusted))


def _selectivity(run: AtlasRun) -> str:
    """Kurtosis and half share of the units in Rosetta neurons, and of all others."""
    inside, outside = {}, {}
    for place, spec in enumerate(run.models):
        if spec.control:
            continue
        rows = run.tables["units"]
        rows = rows[rows["model"] == spec.name]
        held = rows["unit"].isin(run.rosetta.loc[run.rosetta["place"] == place, "unit"]).to_numpy()
        kurtosis, share = rows["kurtosis"].to_numpy(), rows["half_share"].to_numpy()
        inside[spec.name] = kurtosis[held], share[held]
        outside[spec.name] = kurtosis[~held], share[~held]
    return selectivity_plot(inside, outside)


def _layers(run: AtlasRun, model: int) -> str:
    rows, columns = ([layer.name for layer in run.units[place].layers] for place in (run.anchor, model))
    pairs = run.pairs(run.tables["buddies"], run.models[model].name)
    counts = pd.crosstab(pairs["layer_a"], pairs["layer_b"]).reindex(index=rows, columns=columns, fill_value=0)
    return layer_matches(counts.to_numpy(), rows, columns, f"{run.models[run.anchor].name} × {run.models[model].name}")

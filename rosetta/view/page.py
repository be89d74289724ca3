"""The dictionary of Rosetta neurons as one HTML page that needs nothing but its pictures."""

import math
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rosetta.view.colours import gradient
from rosetta.view.contents import Concept, Dictionary, Member, ModelSummary, Neuron
from rosetta.view.sprite import GAP, TILE, extent

__all__ = ["Concept", "Dictionary", "Member", "ModelSummary", "Neuron", "render"]


def _correlation(value: float | None) -> str:
    """Two decimals with a true minus; a dash where there is no number."""
    if value is None or not math.isfinite(value):
        return "–"
    # Rounded first, so that a hair below zero is not written as minus zero.
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")


def _count(value: int) -> str:
    """Thousands apart."""
    return f"{value:,}"


def _counted(value: int, one: str, many: str) -> str:
    """``1 concept``, ``2 concepts``."""
    return f"{_count(value)} {one if value == 1 else many}"


def _listed(names: list[str]) -> str:
    """``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("rosetta.view", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(correlation=_correlation, count=_count, counted=_counted)
    return environment


def render(dictionary: Dictionary) -> str:
    """Write the page.

    Parameters
    ----------
    dictionary
        What it shows. Names may hold any character: all text is escaped, and only the plots' SVG, which
        :mod:`rosetta.view.plots` made, goes in as it is.

    Returns
    -------
    str
        A whole HTML document. It asks for nothing but the concepts' pictures, and for those as they come into view.
    """
    concepts = sorted(dictionary.concepts, key=lambda concept: concept.cluster)
    means = [concept.mean_pearson for concept in concepts if math.isfinite(concept.mean_pearson)]
    columns = max((len(concept.columns) for concept in concepts), default=1)
    return (
        _environment()
        .get_template("page.html")
        .render(
            run=dictionary,
            concepts=concepts,
            shared=_listed([model.name for model in dictionary.models if not model.control]),
            controls=[model for model in dictionary.models if model.control],
            histogram=Markup(dictionary.histogram),
            layer_plots=[(caption, Markup(plot)) for caption, plot in dictionary.layer_plots],
            gradient=Markup(gradient()),
            # The slider runs over what there is, in steps of its step.
            weakest=math.floor(min(means, default=0.0) * 20) / 20,
            strongest=math.ceil(max(means, default=1.0) * 100) / 100,
            largest=max((concept.size for concept in concepts), default=1),
            widest=extent(columns),
            tile=TILE,
            gap=GAP,
            extent=extent,
        )
    )

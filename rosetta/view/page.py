"""The dictionary of Rosetta neurons as one HTML page that needs nothing but its pictures."""

import math

from markupsafe import Markup

from rosetta.view.colours import gradient
from rosetta.view.contents import Concept, Dictionary, Member, ModelSummary, Neuron, Survival, Trust
from rosetta.view.environment import environment
from rosetta.view.sprite import GAP, TILE, extent
from rosetta.view.verdict import TESTS, in_short, marks

__all__ = ["Concept", "Dictionary", "Member", "ModelSummary", "Neuron", "Survival", "Trust", "render"]


def _listed(names: list[str]) -> str:
    """``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def _survived(survives: Survival | None) -> list[tuple[str, int | None]]:
    """A count under each test's name and under ``all``; None where there is none."""
    if survives is None:
        return [(test, None) for test in (*TESTS, "all")]
    counts = (survives.chance, survives.replicates, survives.lift, survives.partial, survives.all)
    return list(zip((*TESTS, "all"), counts, strict=True))


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

    Raises
    ------
    ValueError
        When matches were judged but `q` or `partial` is not a number: nobody could say which test a match fails.
    """
    judged = dictionary.judged
    if judged and not (math.isfinite(dictionary.q) and math.isfinite(dictionary.partial)):
        raise ValueError(f"matches were judged with q {dictionary.q} and partial {dictionary.partial}; give both")
    concepts = sorted(dictionary.concepts, key=lambda concept: concept.cluster)
    means = [concept.mean_pearson for concept in concepts if math.isfinite(concept.mean_pearson)]
    columns = max((len(concept.columns) for concept in concepts), default=1)
    return (
        environment()
        .get_template("page.html")
        .render(
            run=dictionary,
            concepts=concepts,
            shared=_listed([model.name for model in dictionary.models if not model.control]),
            controls=[model for model in dictionary.models if model.control],
            histogram=Markup(dictionary.histogram),
            layer_plots=[(caption, Markup(plot)) for caption, plot in dictionary.layer_plots],
            selectivity=Markup(dictionary.selectivity),
            trust_page=dictionary.trust_page if judged else "",
            tests=TESTS,
            survived=_survived,
            marks=lambda trust: marks(trust, dictionary.q, dictionary.partial) if judged else (),
            in_short=in_short,
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

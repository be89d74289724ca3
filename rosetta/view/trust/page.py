"""Why matches are trusted, or are not, as one HTML page that needs nothing beside it."""

from typing import Any

import numpy as np
from markupsafe import Markup

from rosetta.mining.trust.tests import TESTS, TrustTest, asked
from rosetta.view import null_words
from rosetta.view.templating import environment
from rosetta.view.trust import chance, dictionary, models
from rosetta.view.trust.contents import TrustStory
from rosetta.view.trust.measured import of_tests
from rosetta.view.trust.plots import Picture, centred, halves, lift, partial
from rosetta.view.trust.summary import summary


def _inline(*pictures: Picture) -> list[tuple[Markup, str]]:
    """The SVG as it is, the note to be escaped."""
    return [(Markup(picture.svg), picture.note) for picture in pictures]


def address(test: TrustTest) -> str:
    """Of the test's section on the page."""
    return test.word.replace(" ", "-")


def render_trust(story: TrustStory) -> str:
    """Write the page: what the tests leave, a section per test, and sections about the run as a whole.

    How a test is made stands in the template `trust/<name>.html`; one without has a section that only asks.

    Parameters
    ----------
    story
        What it shows. Texts may hold any character: all are escaped, and only the pictures' SVG, which
        :mod:`rosetta.view.trust.plots` and its neighbours make of the matches, goes in as it is.

    Returns
    -------
    str
        A whole HTML document that asks for nothing.
    """
    matches = story.matches
    control, trusted = matches["control"], matches["trusted"]
    decide = asked(story.settings)
    return (
        environment()
        .get_template("trust.html")
        .render(
            story=story,
            tests=sorted(TESTS, key=lambda test: test not in decide),
            decide=decide,
            address=address,
            trained=int(np.sum(~control)),
            trained_trusted=int(np.sum(trusted & ~control)),
            controls=int(np.sum(control)),
            controls_trusted=int(np.sum(trusted & control)),
            controls_asked=all(np.any(control & ~test.unasked(matches)) for test in decide if test.needs_control),
            summary=summary(matches, story.settings),
            pictures=_pictures(story),
            **_whole(story),
        )
    )


def _pictures(story: TrustStory) -> dict[str, list[tuple[Markup, str]]]:
    """By section."""
    matches, settings = story.matches, story.settings
    return {
        "chance": _inline(chance.null(story.null), chance.p_values(matches, settings.q)),
        "replicates": _inline(halves(matches)),
        "lift": _inline(lift(matches)),
        "partial": _inline(partial(matches, settings.partial)),
        **{name: _inline(picture) for name, picture in of_tests(story).items()},
        "position": _inline(centred(matches)),
        "null": _inline(dictionary.null(story)),
        "stability": _inline(dictionary.stability(story)),
        "layers": _inline(*models.layers(story)),
        "distances": [] if story.whole.distances is not None else [(Markup(), story.why_not("one_to_one"))],
        "rarefaction": _inline(models.rarefaction(story)),
    }


def _whole(story: TrustStory) -> dict[str, Any]:
    """The tables and sentences about the run as a whole."""
    whole = story.whole
    controls = [name for name, size in whole.sizes.items() if size.control]
    distances = [] if whole.distances is None else whole.distances.to_dict("records")
    stable = [] if whole.stability is None else dictionary.with_neighbours(whole.stability)
    return {
        "chance_phrase": null_words.phrase(whole.null_counts),
        "nulls": dictionary.null_rows(whole.null_counts, controls),
        "percolation": dictionary.percolation(stable, story.neighbours),
        "distances": [
            {**row, "model": row["model_b"], "control": row["model_b"] in controls}
            for row in distances
            if row["model_a"] == story.anchor
        ],
        "curves": models.curves(story),
        "fair": models.fair_sentence(story),
    }

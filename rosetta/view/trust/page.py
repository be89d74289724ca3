"""Why matches are trusted, or are not, as one HTML page that needs nothing beside it."""

import numpy as np
from markupsafe import Markup

from rosetta.mining.trust.tests import TESTS
from rosetta.view.templating import environment
from rosetta.view.trust.chance import null, p_values
from rosetta.view.trust.contents import TrustStory
from rosetta.view.trust.plots import Picture, centred, halves, lift, partial
from rosetta.view.trust.together import together


def _inline(*pictures: Picture) -> list[tuple[Markup, str]]:
    """The SVG as it is, the note to be escaped."""
    return [(Markup(picture.svg), picture.note) for picture in pictures]


def render_trust(story: TrustStory) -> str:
    """Write the page: a section per test with what it asks, how it is made, when it misleads, and a picture.

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
    matches, settings = story.matches, story.settings
    control, trusted = matches["control"], matches["trusted"]
    return (
        environment()
        .get_template("trust.html")
        .render(
            story=story,
            tests=TESTS,
            trained=int(np.sum(~control)),
            trained_trusted=int(np.sum(trusted & ~control)),
            controls=int(np.sum(control)),
            controls_trusted=int(np.sum(trusted & control)),
            controls_asked=all(np.any(control & ~test.unasked(matches)) for test in TESTS if test.needs_control),
            pictures={
                "chance": _inline(null(story.null), p_values(matches, settings.q)),
                "replicates": _inline(halves(matches)),
                "lift": _inline(lift(matches)),
                "partial": _inline(partial(matches, settings.partial)),
                "position": _inline(centred(matches)),
                "together": _inline(together(matches, settings)),
            },
        )
    )

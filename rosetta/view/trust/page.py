"""Why matches are trusted, or are not, as one HTML page that needs nothing beside it."""

import numpy as np
from markupsafe import Markup

from rosetta.view.templating import environment
from rosetta.view.trust.chance import null, p_values
from rosetta.view.trust.contents import MatchColumns, NullExample, TrustStory
from rosetta.view.trust.plots import Picture, centred, halves, lift, partial
from rosetta.view.trust.together import together

__all__ = ["MatchColumns", "NullExample", "TrustStory", "render_trust"]


def _inline(picture: Picture) -> tuple[Markup, str]:
    """The SVG as it is, the note to be escaped."""
    return Markup(picture.svg), picture.note


def render_trust(story: TrustStory) -> str:
    """Write the page: a section per number with what it asks, how it is made, when it misleads, and a picture.

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
    return (
        environment()
        .get_template("trust.html")
        .render(
            story=story,
            trained=int(np.sum(~matches.control)),
            trained_trusted=int(np.sum(matches.trusted & ~matches.control)),
            controls=int(np.sum(matches.control)),
            controls_trusted=int(np.sum(matches.trusted & matches.control)),
            controls_asked=bool(np.isfinite(matches.lift[matches.control]).any()),
            null=_inline(null(story.null)),
            p_values=_inline(p_values(matches, story.q)),
            halves=_inline(halves(matches)),
            lift=_inline(lift(matches)),
            partial=_inline(partial(matches, story.partial)),
            centred=_inline(centred(matches)),
            together=_inline(together(matches, story.q, story.partial)),
        )
    )

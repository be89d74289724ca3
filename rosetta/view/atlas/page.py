"""The shell of the atlas: one HTML page that loads all else from its own folder."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from rosetta.view.atlas.script import json_text
from rosetta.view.pictures.colours import stops
from rosetta.view.templating import environment

_PARTS = (
    "namespace", "dom", "layout", "text", "state", "data", "names", "notes", "note_tools", "search", "words", "hits",
    "found", "fit", "colour", "maps", "grid", "parts", "cards", "trust", "plot", "finder", "keys", "classes",
    "overview", "concept_filters", "concepts", "concept", "concept_neurons", "concept_found", "images", "explained",
    "image", "unit_images", "unit_histogram", "unit_tables", "unit_index", "unit", "csv", "tables", "notes_view",
    "guided", "main",
)  # fmt: skip
"""The script's sources, each of which may use those before it."""


@cache
def script() -> str:
    """All sources as one script.

    They are no templates: braces in them are their own. Indentation is for those who read the sources, and no string of
    theirs runs over a line.
    """
    folder = files("rosetta.view") / "templates" / "atlas" / "script"
    sources = ((folder / f"{part}.js").read_text(encoding="utf-8") for part in _PARTS)
    return "\n".join(line.strip() for source in sources for line in source.splitlines())


def render(run: Mapping[str, Any]) -> str:
    """Write the page.

    Parameters
    ----------
    run
        What it must know of its run, see :mod:`rosetta.view.atlas`. Names may hold any character.

    Returns
    -------
    str
        A whole HTML document; it loads `data/`, `images/`, `cards/` and `pictures/` beside it, and nothing else.
    """
    template = environment().get_template("atlas/index.html")
    known = {**run, "heat": stops(16)}
    beside = {"trust": run["trust_page"], "guided": bool(run["guided"])}
    return template.render(name=run["name"], run=Markup(json_text(known)), script=Markup(script()), **beside)

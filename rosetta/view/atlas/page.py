"""The shell of the atlas: one HTML page that loads all else from its own folder."""

import json
from collections.abc import Iterator, Mapping
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

    They are no templates: braces in them are their own. Indentation and comments are for those who read the sources;
    no string of theirs runs over a line, and no comment follows code on its line.
    """
    folder = files("rosetta.view") / "templates" / "atlas" / "script"
    sources = ((folder / f"{part}.js").read_text(encoding="utf-8") for part in _PARTS)
    return "\n".join(line for source in sources for line in _code(source))


def _code(source: str) -> Iterator[str]:
    """The lines of a script without comments."""
    inside = False
    for line in map(str.strip, source.splitlines()):
        if inside or line.startswith("/*"):
            inside, line = "*/" not in line, line.partition("*/")[2].strip()
        if line and not line.startswith("//"):
            yield line


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
    beside = {"trust": run["trust_page"], "guided": any(model["kind"] == "generator" for model in run["models"])}
    return template.render(name=run["name"], run=Markup(json_text(known)), script=Markup(script()), **beside)


def told(page: str) -> dict[str, Any]:
    """What :func:`render` was given, read back from the page.

    Raises
    ------
    ValueError
        It is no page of :func:`render`.
    """
    _, _, rest = page.partition('<script type="application/json" id="run">')
    try:
        run = json.loads(rest.partition("</script>")[0])
    except json.JSONDecodeError:
        run = None
    if not isinstance(run, dict) or run.pop("heat", None) is None:
        raise ValueError("the page holds no run")
    return run

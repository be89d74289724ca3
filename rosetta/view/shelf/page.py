"""A shelf as one HTML page, and the data of its search as one script."""

from importlib.resources import files

from markupsafe import Markup

from rosetta.view.atlas.script import json_text
from rosetta.view.shelf.contents import ShelfPage
from rosetta.view.templating import environment

DATA = "data/shelf.js"
"""Where the page looks for what :func:`search_data` writes."""


def render_shelf(page: ShelfPage) -> str:
    """Write the page.

    Parameters
    ----------
    page
        What it shows. Texts may hold any character: all are escaped.

    Returns
    -------
    str
        A whole HTML document; it loads :data:`DATA` and the pictures of its entries, and nothing else.
    """
    script = (files("rosetta.view") / "templates" / "shelf.js").read_text(encoding="utf-8")
    return environment().get_template("shelf.html").render(page=page, data=DATA, script=Markup(script))


def search_data(page: ShelfPage) -> bytes:
    """The script that hands the page what its search looks through, as :mod:`rosetta.view.shelf` describes it."""
    known = {
        "entries": [[entry.name, entry.page] for entry in page.entries],
        "concepts": [
            [number, one.number, one.name, list(one.labels), one.note, one.neurons, one.trusted]
            for number, entry in enumerate(page.entries)
            for one in entry.concepts
        ],
        "models": [
            [number, one.name, one.zoo, list(one.layers)]
            for number, entry in enumerate(page.entries)
            for one in entry.models
        ],
    }
    return f"shelf.put({json_text(known)});\n".encode("ascii")

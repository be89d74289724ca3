"""A comparison as one HTML page that needs nothing but its pictures."""

from dataclasses import replace

from markupsafe import Markup

from rosetta.view.compare.contents import ComparePage
from rosetta.view.pictures.colours import gradient
from rosetta.view.pictures.sprite import GAP, extent
from rosetta.view.templating import environment


def render_compare(page: ComparePage) -> str:
    """Write the page.

    Parameters
    ----------
    page
        What it shows. Texts may hold any character: all are escaped, and only the plot's SVG goes in as it is.

    Returns
    -------
    str
        A whole HTML document. It asks for nothing but the concepts' pictures, and for those as they come into view.
    """
    drawn = replace(page, scatter=Markup(page.scatter))
    return (
        environment()
        .get_template("compare.html")
        .render(page=drawn, gradient=Markup(gradient()), gap=GAP, extent=extent)
    )

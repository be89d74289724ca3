"""A guided inversion or edit as one HTML page that needs nothing but its pictures."""

from markupsafe import Markup

from rosetta.view.guided.contents import GuidedPage
from rosetta.view.pictures.colours import gradient
from rosetta.view.pictures.sprite import GAP, extent
from rosetta.view.templating import environment


def _check(page: GuidedPage) -> None:
    """Captions must fit what they stand beside: a table or strip that is off by one would tell a lie."""
    for row in page.summary.rows:
        if len(row) != len(page.summary.columns):
            raise ValueError(f"a row of {len(row)} texts stands below {len(page.summary.columns)} headings: {row}")
    for image in page.images:
        for film in image.films:
            if film.frames < 1 or len(film.steps) != film.frames:
                raise ValueError(f"film {film.caption!r} has {film.frames} frames taken after {len(film.steps)} steps")
        if image.maps is not None and not (image.maps.rows and image.maps.columns):
            raise ValueError(f"the maps of {image.title!r} have no row or no column; leave them out")


def render_guided(page: GuidedPage) -> str:
    """Write the page.

    Parameters
    ----------
    page
        What it shows. Texts may hold any character: all are escaped, and only the traces' SVG, which
        :mod:`rosetta.view.guided.loss_plot` made, goes in as it is.

    Returns
    -------
    str
        A whole HTML document. It asks for nothing but the images' pictures, and for those as they come into view.

    Raises
    ------
    ValueError
        When a row of the summary does not fit its headings, a film's steps do not fit its frames, or a sheet of maps
        is empty.
    """
    _check(page)
    return (
        environment()
        .get_template("guided.html")
        .render(
            page=page,
            images=[(image, Markup(image.trace)) for image in page.images],
            with_maps=any(image.maps is not None for image in page.images),
            gradient=Markup(gradient()),
            gap=GAP,
            extent=extent,
        )
    )

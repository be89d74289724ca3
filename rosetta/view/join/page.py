"""A join as one HTML page that needs nothing but its pictures."""

from markupsafe import Markup

from rosetta.view.join.contents import LINK_COLUMNS, JoinPage
from rosetta.view.pictures.colours import gradient
from rosetta.view.pictures.sprite import GAP, extent
from rosetta.view.templating import environment


def render_join(page: JoinPage) -> str:
    """Write the page.

    Parameters
    ----------
    page
        What it shows. Texts may hold any character: all are escaped.

    Returns
    -------
    str
        A whole HTML document. It asks for nothing but the concepts' pictures, and for those as they come into view.

    Raises
    ------
    ValueError
        When a row does not fit the headings that it stands below.
    """
    tables = [(table.columns, table.rows) for table in page.tables]
    tables += [(LINK_COLUMNS, concept.links) for concept in page.concepts]
    for columns, rows in tables:
        for row in rows:
            if len(row) != len(columns):
                raise ValueError(f"a row of {len(row)} texts stands below {len(columns)} headings: {row}")
    return (
        environment()
        .get_template("join.html")
        .render(page=page, link_columns=LINK_COLUMNS, gradient=Markup(gradient()), gap=GAP, extent=extent)
    )

"""An explanation as a figure: the image, where the model looks, and the concepts most like that."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from rosetta.errors import UserError
from rosetta.view.numbers import correlation
from rosetta.view.pictures.heatmap import overlay, plain
from rosetta.view.pictures.sheet import FORMATS, Heading, Sheet, encode, print_sheet, tile_pixels
from storage.run.members import RunMembers
from tasks.explain.explain import Explanation

SHOWN = 5
"""Concepts in the figure."""


def draw(run: RunMembers, explanation: Explanation) -> Figure:
    """The image, its Grad-CAM map, and the maps of the concepts most like it."""
    rows = explanation.concepts.head(SHOWN)
    size, pixels = tile_pixels(2 + len(rows)), explanation.pixels
    tiles = [plain(pixels, size), overlay(pixels, explanation.cam, 0.0, float(explanation.cam.max()), size)]
    name = explanation.label or f"class {explanation.index}"
    headings = [Heading("image"), Heading("Grad-CAM", (explanation.layer, name))]
    for _, row in rows.iterrows():
        low, high = run.concept(int(row["cluster"])).unit(explanation.model).scale
        tiles.append(overlay(pixels, explanation.map_of(row), low, high, size))
        told = (row["layer"], f"ch {row['channel']}", f"r {correlation(row['pearson'])}", f"weight {row['weight']:.2f}")
        headings.append(Heading(f"concept {row['cluster']}", told))
    caption = (
        f"{explanation.image} as {explanation.model} sees it, and where its layer {explanation.layer} looks for "
        f"“{name}” (probability {explanation.probability:.2f}): its Grad-CAM map from 0 to its maximum. Beside "
        f"it the concepts of {run.name} that are most like it, by the unit of {explanation.model} in their strongest "
        f"neuron; r is the correlation with the Grad-CAM map over the positions of this image. The best sum of all "
        f"concepts, none counting negatively, explains {explanation.share:.0%} of the map's variance, as many random "
        f"units of the same layers {explanation.random_share:.0%}."
    )
    return print_sheet(Sheet(np.stack(tiles)[None], ("",), tuple(headings), ""), caption)


def require_format(path: Path) -> str:
    """The kind of file that a figure is to be.

    Raises
    ------
    UserError
        Figures have no such kind.
    """
    kind = path.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise UserError(f"--out {path}: a figure is a PNG or a PDF; give a name that ends in .png or .pdf")
    return kind


def write(figure: Figure, path: Path) -> None:
    """
    Raises
    ------
    UserError
        The file is of no kind that figures have, or cannot be written.
    """
    content = encode(figure, require_format(path))
    try:
        path.write_bytes(content)
    except OSError as error:
        raise UserError(f"--out {path}: {error.strerror}; name a file that can be written") from None

"""Figures in print quality: one concept, the dictionary over one image, or a match that fails a test, into a file."""

from collections.abc import Callable, Sequence
from pathlib import Path

from rosetta.errors import UserError
from rosetta.view.pictures.sheet import FORMATS, encode, print_sheet
from storage.artifacts.catalogue import FIGURES
from storage.artifacts.seals import break_seal
from storage.filesystem.root import Root
from storage.run.members import RunMembers
from storage.run.sheets import Captioned, concept_sheet, dictionary_sheet, failing_sheet
from storage.upkeep.sealing import seal


def write_concept_figure(run: RunMembers, cluster: int, images: int, out: Path | None) -> str:
    """Images × models of one concept, as PNG or PDF; gives the path.

    Parameters
    ----------
    images
        How many, those first where the anchor's unit peaks highest.
    out
        Where to; `figures/concept-<cluster>.png` under the run's root where none is given.

    Raises
    ------
    UserError
        There is no such concept, or the file cannot be written.
    """
    return _write(run, lambda: concept_sheet(run.concept(cluster), images), f"concept-{cluster}", out)


def write_dictionary_figure(
    run: RunMembers, image: int, concepts: Sequence[int] | None, count: int, out: Path | None
) -> str:
    """Concepts × models over one image, as PNG or PDF; gives the path.

    Parameters
    ----------
    concepts
        Which; the `count` that are strongest on the image where none are given.
    out
        Where to; `figures/dictionary-<image>.png` under the run's root where none is given.

    Raises
    ------
    UserError
        There is no such image or concept, or the file cannot be written.
    """
    return _write(run, lambda: dictionary_sheet(run, image, concepts, count), f"dictionary-{image}", out)


def write_failing_figure(run: RunMembers, test: str, images: int, out: Path | None) -> str:
    """A match that fails a test of trust, images under the maps of both units, as PNG or PDF; gives the path.

    Parameters
    ----------
    test
        Name of the test.
    images
        How many, those first where the anchor's unit peaks highest.
    out
        Where to; `figures/failing-<test>.png` under the run's root where none is given.

    Raises
    ------
    UserError
        There is no such test, no match fails it, or the file cannot be written.
    """
    return _write(run, lambda: failing_sheet(run, test, images), f"failing-{test}", out)


def _write(run: RunMembers, draw: Callable[[], Captioned], name: str, out: Path | None) -> str:
    """Draw a figure and write it. A kind of file that there is not is refused before anything is drawn."""
    kind = out.suffix.lower().removeprefix(".") if out else FORMATS[0]
    if kind not in FORMATS:
        raise UserError(f"--out {out}: a figure is a PNG or a PDF; give a name that ends in .png or .pdf")
    drawn = draw()
    content = encode(print_sheet(drawn.sheet, drawn.caption, drawn.image, drawn.image_name), kind)
    root, relative = (Root(str(out.parent)), out.name) if out else (run.root, FIGURES.path(f"{name}.{kind}"))
    try:
        if not out:
            break_seal(root, relative)
        root.write_bytes(relative, content)
        if not out:
            seal(root, relative)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UserError(f"{root.shown}/{relative} cannot be written ({reason}); choose another with --out") from None
    return str(out) if out else f"{root.shown}/{relative}"

"""The command `rosetta explain`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from flows.command.json_output import Json, print_json
from flows.command.running import start_server, under_way
from rosetta.errors import UserError

if TYPE_CHECKING:
    from storage.run.members import RunMembers
    from tasks.explain.explain import Explanation

_SHOWN = 10
"""Concepts in the printed table of one image."""
_NAMED = 3
"""Concepts in the row of one of several images."""


def explain(
    root: str,
    image: str | None = None,
    /,
    *,
    model: str,
    index: Annotated[int | None, Parameter("--class")] = None,
    layer: str | None = None,
    every: Annotated[bool, Parameter("--all")] = False,
    out: Path | None = None,
    as_json: Json = False,
) -> None:
    """Show where a classifier of a run looks for a class (Grad-CAM), and which concepts lie there.

    What is found on images of the run is kept under `explanations/`, and the page shows it with each image.

    Parameters
    ----------
    root
        Root of a run, any fsspec URL.
    image
        Index of an image of the run, a range such as 0:16, or the path of any other image.
    model
        The classifier, by its name in the run.
    index
        Index of the class. Default: the likeliest of each image.
    layer
        Layer of the run whose maps are weighed. Default: the last that the class depends on.
    every
        All images of the run.
    out
        Also draw one image: FILE.png or FILE.pdf.
    """
    if every == (image is not None):
        raise UserError("give an image of the run, a range such as 0:16, a path, or --all")
    from tasks.explain.picture import draw, require_format, write
    from tasks.explain.stored import is_for_run_images

    if out is not None:
        require_format(out)
    if image is None or is_for_run_images(image):
        if out is not None and (image is None or not image.isdecimal()):
            raise UserError("--out draws one image; give its index")
        run, found, where = _of_run(root, image, model, index, layer)
    else:
        from storage import open_run
        from tasks.explain.explain import explain as explanation_of

        run, where = open_run(root), None
        found = [explanation_of(run, image, model, index, layer)]
    if out is not None:
        write(draw(run, found[0]), out)
    if as_json:
        each = [one.as_dict() for one in found]
        beside = {"path": str(out)} if out is not None else {}
        print_json(({"images": each} if every or len(each) > 1 else each[0]) | {"store": where} | beside)
        return
    if len(found) == 1:
        _print_one(found[0])
    else:
        _print_several(found)
    if out is not None:
        print(f"Figure: {out}")
    if where is not None:
        print(f"Store: {where}")


def _of_run(
    root: str, images: str | None, model: str, index: int | None, layer: str | None
) -> tuple["RunMembers", Sequence["Explanation"], str]:
    server = start_server()
    from flows.explain import explain as explain_flow
    from flows.explain import plan_explanations
    from tasks.explain.stored import explanations

    run, _ = plan_explanations(root, images, model, index, layer)  # bad input does not wait for the server
    with under_way(server):
        done = explain_flow(root, images, model, index, layer)
    return run, list(explanations(run, done.name)), f"{done.root}/{done.path}"


def _print_one(found: "Explanation") -> None:
    from tasks.stage.text_table import print_table

    print(f"{found.image}: {found.model} gives {found.named} a probability of {found.probability:.2f}.")
    print_table(
        ("concept", "unit", "r with Grad-CAM", "weight"),
        [
            (str(row.cluster), f"{row.layer} channel {row.channel}", f"{row.pearson:.2f}", f"{row.weight:.2f}")
            for row in found.concepts.head(_SHOWN).itertuples()
        ],
        width=120,
    )
    print(
        f"All concepts together explain {found.share:.0%} of where {found.layer} looks for it; as many random units of"
        f" the same layers explain {found.random_share:.0%}."
    )


def _print_several(found: Sequence["Explanation"]) -> None:
    from tasks.stage.text_table import print_table

    columns = ("image", "class", "probability", "explained", "by random units", "first concepts")
    rows = []
    for one in found:
        first = one.concepts[one.concepts["weight"] > 0]["cluster"].head(_NAMED)
        figures = (f"{value:.2f}" for value in (one.probability, one.share, one.random_share))
        rows.append((one.image, one.named, *figures, ", ".join(map(str, first)) or "none"))
    print_table(columns, rows, words=("image", "class"), width=120)

"""The command `rosetta explain`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from flows.command.json_output import Json, print_json

_SHOWN = 10
"""Concepts in the printed table."""


def explain(
    root: str,
    image: str,
    /,
    *,
    model: str,
    index: Annotated[int | None, Parameter("--class")] = None,
    layer: str | None = None,
    out: Path | None = None,
    as_json: Json = False,
) -> None:
    """Show where a classifier of a run looks for a class (Grad-CAM), and which concepts lie there.

    Parameters
    ----------
    root
        Root of a run, any fsspec URL.
    image
        Index of an image of the run, or the path of any other.
    model
        The classifier, by its name in the run.
    index
        Index of the class. Default: the likeliest.
    layer
        Layer of the run whose maps are weighed. Default: the last that the class depends on.
    out
        Also draw it: FILE.png or FILE.pdf.
    """
    from storage import open_run
    from tasks.explain.explain import explain as explanation_of
    from tasks.explain.picture import draw, write
    from tasks.stage.text_table import print_table

    run = open_run(root)
    explanation = explanation_of(run, image, model, index, layer)
    if out is not None:
        write(draw(run, explanation), out)
    if as_json:
        print_json(explanation.as_dict() | ({} if out is None else {"path": str(out)}))
        return
    found = explanation.found
    named = f"class {found.index}" + (f" “{found.name}”" if found.name else "")
    print(f"{explanation.image}: {model} gives {named} a probability of {found.probability:.2f}.")
    rows = explanation.concepts.head(_SHOWN)
    print_table(
        ("concept", "unit", "r with Grad-CAM", "weight"),
        [
            (str(row.cluster), f"{row.layer} channel {row.channel}", f"{row.pearson:.2f}", f"{row.weight:.2f}")
            for row in rows.itertuples()
        ],
        width=120,
    )
    print(f"All concepts together explain {explanation.share:.0%} of where {explanation.layer} looks for it.")
    if out is not None:
        print(f"Figure: {out}")

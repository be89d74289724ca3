"""The command `rosetta report`."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from flows.command.json_output import Json, print_json
from rosetta.errors import UserError


def report(
    root: str,
    /,
    *,
    figure: int | None = None,
    images: int | None = None,
    dictionary: int | None = None,
    concepts: str | None = None,
    count: int | None = None,
    out: Annotated[Path | None, Parameter(negative="")] = None,
    as_json: Json = False,
) -> None:
    """Write the page of a mined run anew, or a figure of it in print quality.

    Parameters
    ----------
    root
        The root of a run, any fsspec URL.
    figure
        A concept by its number: its images under the maps of every model, as a figure.
    images
        How many images that figure shows; 6 by default.
    dictionary
        An image by its number: concepts over it, as every model sees them, as a figure.
    concepts
        Which concepts that figure shows, 1,5,9 say.
    count
        How many where none are named, the strongest on the image; 8 by default.
    out
        FILE.png or FILE.pdf; figures/ under the root by default.
    """
    wanted = {"--figure": figure, "--dictionary": dictionary}
    if None not in wanted.values():
        raise UserError("--figure and --dictionary are two figures; ask for one at a time")
    for option, value, of in (
        ("--images", images, "--figure"),
        ("--concepts", concepts, "--dictionary"),
        ("--count", count, "--dictionary"),
    ):
        if value is not None and wanted[of] is None:
            raise UserError(f"{option} is about the figure that {of} asks for; give {of} too, or leave it out")
    if concepts is not None and count is not None:
        raise UserError("--concepts names them and --count has them chosen; give one of the two")
    named = None if concepts is None else _numbers(concepts)
    if figure is None and dictionary is None:
        if out is not None:
            raise UserError("--out is where a figure goes and the page has its place; give --figure or --dictionary")
        path = _page(root)
    else:
        from storage import open_run
        from tasks.report.figures import write_concept_figure, write_dictionary_figure

        run = open_run(root)
        if figure is not None:
            path = write_concept_figure(run, figure, 6 if images is None else images, out)
        else:
            assert dictionary is not None
            path = write_dictionary_figure(run, dictionary, named, 8 if count is None else count, out)
    if as_json:
        print_json({"root": root, "path": path})
        return
    print(f"Look at {path}")


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"--concepts {text!r}: these are no numbers of concepts; write them like 1,5,9") from None


def _page(root: str) -> str:
    from flows.command.quiet import quiet_prefect

    quiet_prefect()
    from flows.reporting.embedded_server import EmbeddedServer

    server = EmbeddedServer.unless_configured()
    from flows.command.console import narrated
    from flows.report import prepared
    from flows.report import report as flow
    from tasks.report.page import PAGE

    plan = prepared(root)
    with narrated(), server.in_use() if server else nullcontext():
        flow(plan.recipe)
    return f"{root}/{PAGE}"

"""The command `rosetta report`."""

from pathlib import Path

from flows.command.json_output import Json, print_json
from flows.command.running import start_server, under_way
from rosetta.errors import UserError


def report(
    root: str,
    /,
    *,
    figure: int | None = None,
    images: int | None = None,
    dictionary: int | None = None,
    failing: str | None = None,
    concepts: str | None = None,
    count: int | None = None,
    out: Path | None = None,
    as_json: Json = False,
) -> None:
    """Rebuild the page of a mined run, or draw a figure of it in print quality.

    Parameters
    ----------
    root
        Root of a run, any fsspec URL.
    figure
        Draw the concept with this number: its images under the maps of every model.
    failing
        Draw the match that fails this test of trust and passes most others, for example excess.
    images
        Images in the figure of a concept or of a match. Default: 6.
    dictionary
        Draw the image with this number: concepts over it, as every model sees them.
    concepts
        Concepts in that figure, for example 1,5,9. Default: the strongest on the image.
    count
        Number of strongest concepts in that figure. Default: 8.
    out
        FILE.png or FILE.pdf. Default: a file in figures/ under the root.
    """
    given = {"--figure": figure, "--dictionary": dictionary, "--failing": failing}
    wanted = [option for option, value in given.items() if value is not None]
    if len(wanted) > 1:
        raise UserError(f"{' and '.join(wanted)} are {len(wanted)} figures; give one at a time")
    for option, value, needed, chosen in (
        ("--images", images, "--figure", failing if figure is None else figure),
        ("--concepts", concepts, "--dictionary", dictionary),
        ("--count", count, "--dictionary", dictionary),
    ):
        if value is not None and chosen is None:
            raise UserError(f"{option} applies only to the figure of {needed}; add {needed} or leave {option} out")
    if concepts is not None and count is not None:
        raise UserError("--concepts names the concepts and --count has them chosen; give one of the two")
    if not wanted:
        if out is not None:
            raise UserError("--out applies only to a figure; add --figure, --dictionary or --failing")
        path = _page(root)
    else:
        named = None if concepts is None else _concept_ids(concepts)
        from storage import open_run
        from tasks.report.figures import write_concept_figure, write_dictionary_figure, write_failing_figure

        run, shown = open_run(root), 6 if images is None else images
        if figure is not None:
            path = write_concept_figure(run, figure, shown, out)
        elif failing is not None:
            path = write_failing_figure(run, failing, shown, out)
        else:
            assert dictionary is not None
            path = write_dictionary_figure(run, dictionary, named, 8 if count is None else count, out)
    if as_json:
        print_json({"root": root, "path": path})
    else:
        print(f"{'Report' if path.endswith('.html') else 'Figure'}: {path}")


def _concept_ids(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"--concepts {text!r} is not a list of concept ids; write them like 1,5,9") from None


def _page(root: str) -> str:
    server = start_server()
    from flows.report import prepared
    from flows.report import report as report_flow
    from tasks.report.page import PAGE

    plan = prepared(root)
    with under_way(server):
        report_flow(plan.recipe)
    return f"{root}/{PAGE}"

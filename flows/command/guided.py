"""The commands `rosetta invert` and `rosetta edit`: their options are the fields of the flows' settings."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter, Token

from flows.command.json_output import Json, print_json
from flows.command.running import start_server, under_way
from rosetta.errors import UserError
from rosetta.guidance.edit_text import parse_edits
from rosetta.guidance.settings import Editing, Inversion, Table
from rosetta.strict import validated

if TYPE_CHECKING:
    from flows.guided import Guided
    from flows.reporting.embedded_server import EmbeddedServer

_OPTIONS = {"file_class": "class", "clusters": "concepts", "images": "image"}
"""Options that are not called like their field."""
_FIELDS = Parameter(
    name="*",
    show_default=None,
    consume_multiple=True,
    name_transform=lambda field: _OPTIONS.get(field, field.replace("_", "-")),
)


class _InvertOptions(Inversion):
    images: Annotated[tuple[str, ...], Parameter(parse=False)] = ()


class _EditOptions(Editing):
    edits: Annotated[tuple[tuple[str, str], ...], Parameter(parse=False)] = ()


def invert(
    root: str,
    /,
    *images: str,
    options: Annotated[_InvertOptions, _FIELDS] = _InvertOptions(),
    table: bool = False,
    replace: bool = False,
    as_json: Json = False,
) -> None:
    """Find the latents of images, guided by the matches of a run.

    Parameters
    ----------
    root
        Root of a run that has a generator.
    images
        Indices of the run (7, 0:32), new:N for N images that mining never saw, paths, or globs.
    table
        Make Table 1 of the paper, named table1 by default: reconstruction alone, with the matches of each model, and
        with all matches, beta constant; one more row with --schedule and --weights. The coefficients are chosen on
        other images.
    replace
        Replace another result of the same name.
    """
    given = options.model_dump(exclude_unset=True, by_alias=True) | ({"images": images} if images else {})
    kind, name = (Table, "invert --table") if table else (Inversion, "invert")
    settings = validated(kind, given, name)
    server = start_server()
    from flows import invert as search_flows

    check, work = (
        (search_flows.plan_table, search_flows.table) if table else (search_flows.plan_inversion, search_flows.invert)
    )
    _run(server, check, work, (root, settings, replace), as_json)


def _in_order(_: Any, tokens: Sequence[Token]) -> tuple[tuple[str, str], ...]:
    """Options with one value each, as pairs of option and value in the order of the command line."""
    return tuple(((token.keyword or "").removeprefix("--"), token.value) for token in tokens)


def edit(
    root: str,
    /,
    *,
    options: Annotated[_EditOptions, _FIELDS],
    edits: Annotated[
        tuple[tuple[str, str], ...],
        Parameter(
            ("--shift", "--zoom", "--copy", "--paste", "--join", "--remove", "--add"),
            converter=_in_order,
            n_tokens=1,
            accepts_keys=False,
            allow_leading_hyphen=True,
        ),
    ] = (),
    replace: bool = False,
    as_json: Json = False,
) -> None:
    """Edit images by changing the activation maps of their Rosetta neurons.

    Parameters
    ----------
    root
        Root of a run that has a generator.
    edits
        What to change, in order; positions are fractions of the image. --shift DX,DY; --zoom SCALE[@X,Y];
        --copy X0,Y0,X1,Y1 --paste X,Y (upper left corner of the copy); --join IMAGE@x=0.5 (IMAGE on the right, or
        below with y); --remove CONCEPT[@X0,Y0,X1,Y1]; --add CONCEPT@X0,Y0,X1,Y1.
    replace
        Replace another result of the same name.
    """
    if not edits:
        raise UserError("no edit is given; add --shift, --zoom, --copy and --paste, --join, --remove or --add")
    parse_edits(edits)
    settings = validated(Editing, {**options.model_dump(exclude_unset=True, by_alias=True), "edits": edits}, "edit")
    server = start_server()
    from flows.edit import edit as edit_flow
    from flows.edit import plan_edit

    _run(server, plan_edit, edit_flow, (root, settings, replace), as_json)


def _run(
    server: "EmbeddedServer | None",
    check: Callable[..., object],
    work: "Callable[..., Guided]",
    arguments: tuple[object, ...],
    as_json: bool,
) -> None:
    check(*arguments)  # reports bad input without waiting for the server, which starts meanwhile
    from tasks.guided.metrics import lines

    with under_way(server):
        done = work(*arguments)
    if as_json:
        print_json(done.as_dict())
        return
    for line in lines(done.summary):
        print(line)
    print(f"Report: {done.root}/{done.where}/index.html")
    if done.page:
        print(done.page)

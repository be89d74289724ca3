"""The command `rosetta compare`: its options are the fields of the flow's settings."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from flows.command.json_output import Json, print_json
from flows.command.running import start_server, under_way
from rosetta.mining.compare_settings import Comparing

if TYPE_CHECKING:
    from flows.compare import CompareResult

_FIELDS = Parameter(name="*", show_default=None)


def compare(
    first: str,
    second: str,
    /,
    *,
    root: str | None = None,
    options: Annotated[Comparing, _FIELDS] = Comparing.model_construct(),
    replace: bool = False,
    as_json: Json = False,
) -> None:
    """Compare two runs of the same models: which Rosetta neurons and concepts stay, and how many chance would keep.

    Parameters
    ----------
    first
        Root of a mined run, any fsspec URL.
    second
        Root of another run of the same models: with other seeds, images, K, layers or weights.
    root
        Where tables and a page go, any fsspec URL; a root of its own. Default: the result is printed alone.
    replace
        Replace a comparison of something else under the root.
    """
    from rosetta.strict import validated

    settings = validated(Comparing, options.model_dump(exclude_unset=True), "compare")
    server = start_server()
    from flows.compare import compare as compare_flow
    from flows.compare import plan_compare

    # Bad input is reported without waiting for the server, which starts meanwhile.
    plan_compare(first, second, root, settings, replace)
    with under_way(server):
        done = compare_flow(first, second, root, settings, replace)
    if as_json:
        print_json(done.as_dict())
        return
    for line in _lines(done):
        print(line)


def _lines(done: "CompareResult") -> Iterator[str]:
    from rosetta.view.compare.sentences import agreement, concepts, kept, p_is

    first, second = done.names
    yield f"{first} and {second} differ in:" if done.differences else f"{first} and {second} have the same settings."
    for one in done.differences:
        yield f"  {one['what']}: {one['first']}, {one['second']}"
    overall = [row for row in done.overlaps if row["layer"] == "all"]
    for row in overall:
        yield f"{kept(row)}, {p_is(row['p_value'])}" if row["first"] else kept(row)
    yield concepts(done.concepts)
    for row in done.strengths:
        yield agreement(row)
    if done.page:
        yield f"Report: {done.root}/{done.page}"

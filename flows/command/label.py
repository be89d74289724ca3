"""The command `rosetta label`: its options are the fields of the flow's settings."""

from typing import Annotated, Any

from cyclopts import Parameter

from flows.command.json_output import Json, print_json
from flows.command.running import start_server, under_way
from rosetta.naming.settings import Labelling

_FIELDS = Parameter(name="*", show_default=None)
_SHOWN = 20
"""Rows of a printed table."""


def label(
    root: str,
    /,
    *,
    options: Annotated[Labelling, _FIELDS] = Labelling.model_construct(),
    replace: bool = False,
    as_json: Json = False,
) -> None:
    """Name the concepts of a run, by words that fit their images or by masks that they overlap.

    Parameters
    ----------
    root
        Root of a run, any fsspec URL.
    replace
        Replace names that are made from something else.
    """
    from rosetta.strict import validated

    settings = validated(Labelling, options.model_dump(exclude_unset=True), "label")
    server = start_server()
    from flows.label import label as label_flow
    from flows.label import plan_label

    plan_label(root, settings, replace)  # reports bad input without waiting for the server, which starts meanwhile
    with under_way(server):
        done = label_flow(root, settings, replace)
    if as_json:
        print_json(done.as_dict())
        return
    (_print_text if settings.kind == "text" else _print_masks)(done.summary)
    print(f"Table: {done.root}/{done.summary['table']}")
    if done.page:
        print(done.page)


def _print_text(summary: dict[str, Any]) -> None:
    from tasks.stage.text_table import print_table

    rows = [
        (str(row["cluster"]), row["label"], f"{row['score']:.2f}", f"{row['score_null']:.2f}")
        for row in summary["names"][:_SHOWN]
    ]
    if rows:
        print_table(("concept", "name", "score", "by chance"), rows, words=("name",))
    print(f"{summary['named']} of {summary['concepts']} concepts have a name that fits better than chance.")
    if "units" in summary:
        print(f"{summary['named_units']} of {summary['units']} units of Rosetta neurons have one.")


def _print_masks(summary: dict[str, Any]) -> None:
    from tasks.stage.text_table import print_table

    rows = [(row["model"], row["layer"], row["label"], row["units"]) for row in summary["labels"][:_SHOWN]]
    if rows:
        print_table(("model", "layer", "label", "units"), rows, words=("model", "layer", "label"))
    print(f"{summary['named']} of {summary['units']} units of Rosetta neurons have a label with an IoU above 0.04.")
    print(f"{summary['named_concepts']} of {summary['concepts']} concepts have one.")

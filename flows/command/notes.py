"""The command `rosetta notes`."""

from typing import Any

from flows.command.json_output import Json, print_json
from flows.command.running import start_server, under_way


def notes(
    root: str,
    /,
    *files: str,
    replace: bool = False,
    any_dictionary: bool = False,
    as_json: Json = False,
) -> None:
    """Merge notes that people exported from the page of a run, then rewrite the page. Without files, print the notes.

    Parameters
    ----------
    root
        Root of a run, any fsspec URL.
    files
        Files of notes, as the page exports them. The latest note of each author on a concept stays.
    replace
        Drop the notes that are there, for example those on an earlier dictionary.
    any_dictionary
        Take notes on another dictionary, though its numbers may mean other concepts.
    """
    if files or replace:
        server = start_server()
        from flows.notes import merge_notes, plan_notes

        plan_notes(root, files, replace, any_dictionary)  # reports bad input without waiting for the server
        with under_way(server):
            merge_notes(root, files, replace, any_dictionary)
    found = _told(root)
    if as_json:
        print_json({"root": root, "notes": found})
        return
    _print(found)


def _told(root: str) -> list[dict[str, Any]]:
    from storage.artifacts.notes import told
    from storage.run.data import RunData

    return told(RunData.open(root).root)


def _print(found: list[dict[str, Any]]) -> None:
    from tasks.stage.text_table import print_table

    rows = [
        (str(one["concept"]), "★" if one["starred"] else "", one["name"], " ".join(one["note"].split()), one["author"])
        for one in found
    ]
    if rows:
        print_table(("concept", "starred", "name", "note", "author"), rows, words=("starred", "name", "note", "author"))
    else:
        print("There are no notes.")

"""`tables/notes.parquet`: what people call concepts, merged from the files that the atlas exports."""

from collections.abc import Sequence
from dataclasses import astuple
from hashlib import sha256
from typing import Any

import pandas as pd

from rosetta.errors import UserError
from rosetta.naming.notes import Note
from storage.artifacts import tables
from storage.artifacts.catalogue import NOTES
from storage.artifacts.dictionary import dictionary_of, is_of_dictionary
from storage.artifacts.fingerprint import Fingerprint, fingerprint
from storage.filesystem.root import Root

_FIELDS = ["cluster", "author", "when", "starred", "name", "note", "source"]
"""Columns, in the order of the fields of a note."""


def are_stale(root: Root) -> bool:
    """Whether there are notes, but on the concepts of another dictionary."""
    return root.exists(NOTES.path()) and not is_of_dictionary(root, tables.attributes(root, NOTES.path()))


def notes(root: Root) -> pd.DataFrame:
    """The merged notes, by concept and author: one row each, also of a note that took back an earlier one.

    Returns
    -------
    DataFrame
        cluster, author, name, starred, note, when, source.

    Raises
    ------
    UserError
        There are none, or they are on the concepts of another dictionary.
    """
    if not root.exists(NOTES.path()):
        raise UserError(f"{root.shown} has no notes; export some from its page and merge them with rosetta notes")
    if are_stale(root):
        raise UserError(
            f"{NOTES.path()} under {root.shown} is on the concepts of an earlier dictionary; rosetta notes on it with "
            "--replace drops them"
        )
    return tables.read(root, NOTES.path())


def stored_notes(root: Root) -> list[Note]:
    """The merged notes; none where there are none. Raises as :func:`notes` where they are stale."""
    if not root.exists(NOTES.path()):
        return []
    rows = notes(root)[_FIELDS].itertuples(index=False, name=None)
    return [Note(int(cluster), author, when, bool(starred), *rest) for cluster, author, when, starred, *rest in rows]


def told(root: Root) -> list[dict[str, Any]]:
    """The notes that say something, by concept and author, as plain data."""
    return [
        {"concept": one.concept, "author": one.author, "name": one.name, "starred": one.starred, "note": one.text,
         "when": one.when, "source": one.source}
        for one in stored_notes(root) if one.name or one.starred or one.text
    ]  # fmt: skip


def fingerprint_of(root: Root, merged: Sequence[Note]) -> Fingerprint:
    """What a table of these notes depends on."""
    content = sha256(repr([astuple(note) for note in merged]).encode("utf-8", "surrogatepass")).hexdigest()
    return fingerprint("notes", dictionary=dictionary_of(root), notes_sha256=content)


def write_notes(root: Root, merged: Sequence[Note]) -> None:
    """Write the table of notes that :func:`rosetta.naming.notes.merged` made."""
    frame = pd.DataFrame([astuple(note) for note in merged], columns=_FIELDS)
    text = dict.fromkeys(["author", "when", "name", "note", "source"], "str")
    frame = frame.astype({"cluster": "int32", "starred": "bool", **text})
    order = [column.name for column in NOTES.columns]
    tables.write(root, NOTES.path(), frame[order], fingerprint_of(root, merged))

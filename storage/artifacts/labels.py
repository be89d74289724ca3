"""What concepts are called, from all that named them."""

import pandas as pd

from rosetta.errors import UserError
from rosetta.naming.settings import LEAST_IOU
from storage.artifacts import tables
from storage.artifacts.after_mining import is_current
from storage.artifacts.catalogue import LABELS, MASKS
from storage.filesystem.root import Root

COLUMNS = ["cluster", "kind", "rank", "label", "score", "score_null", "named"]


def labels(root: Root) -> pd.DataFrame:
    """The names of concepts, by concept, kind and rank.

    Returns
    -------
    DataFrame
        cluster, kind (`text` or `masks`), rank, label, score (of a word its soft WPMI, of a label its intersection over
        union), score_null (what it must exceed) and named (whether it does).

    Raises
    ------
    UserError
        Nothing has named them yet, or they were named before the dictionary changed.
    """
    there = [table for table in (LABELS, MASKS) if root.exists(table.path())]
    if not there:
        raise UserError(f"{root.shown} has no names; run rosetta label on it first")
    for table in there:
        if not is_current(root, table):
            raise UserError(
                f"{table.path()} under {root.shown} names the concepts of an earlier dictionary; run rosetta label on "
                "it with --replace"
            )
    frames = []
    for table in there:
        rows = tables.read(root, table.path())
        if table is LABELS:
            rows = rows[rows["subject"] == "concept"]
        else:
            rows = rows[rows["strongest"]].assign(kind="masks", score_null=LEAST_IOU).rename(columns={"iou": "score"})
        frames.append(rows[COLUMNS])
    joined = pd.concat(frames, ignore_index=True)
    return joined.sort_values(["cluster", "kind", "rank"], kind="stable").reset_index(drop=True)

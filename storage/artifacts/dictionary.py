"""Which dictionary a run has, whatever its matches are judged to be."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import pandas as pd

from storage.artifacts import tables
from storage.artifacts.catalogue import ROSETTA
from storage.artifacts.fingerprint import depends_of
from storage.filesystem.root import Root

_UNITS = ["rosetta", "cluster", "anchor_unit", "model", "unit"]


def units_sha256(rows: pd.DataFrame) -> str:
    """SHA-256 of units of the dictionary: rows of the table of Rosetta neurons, in its order."""
    return sha256(rows[_UNITS].to_csv(index=False).encode()).hexdigest()


def dictionary_of(root: Root) -> str | None:
    """What names and notes depend on: the SHA-256 of all units of the dictionary; None where there is none.

    Judging again does not change it, so that a concept keeps its name.
    """
    return units_sha256(tables.read(root, ROSETTA.path())) if root.exists(ROSETTA.path()) else None


def is_of_dictionary(root: Root, attributes: Mapping[str, Any]) -> bool:
    """Whether an artifact with such attributes is about the dictionary that the run has now.

    Names of earlier versions depend on the fingerprint of the table instead, which changes with each judgement.
    """
    known = depends_of(attributes).get("dictionary")
    if known is None:
        return False
    return known == tables.attributes(root, ROSETTA.path()).get("fingerprint") or known == dictionary_of(root)

"""Tables that commands add to a mined run: which there are, and whether they are about its dictionary."""

import pandas as pd

from storage.artifacts import tables
from storage.artifacts.artifact import Artifact
from storage.artifacts.catalogue import ROSETTA, tables_after_mining
from storage.artifacts.dictionary import is_of_dictionary, units_sha256
from storage.artifacts.fingerprint import depends_of
from storage.filesystem.root import Root


def fingerprints(root: Root) -> dict[str, str]:
    """By path: the fingerprints of those that are there, of another dictionary or not."""
    paths = [table.path() for table in tables_after_mining()]
    found = {path: tables.attributes(root, path).get("fingerprint") for path in paths}
    return {path: digest for path, digest in found.items() if digest}


def is_current(root: Root, table: Artifact) -> bool:
    """Whether such a table is about the dictionary that the run has now.

    Names depend on the dictionary as a whole. What units cause depends on these units alone. A table that depends on
    neither is always current.
    """
    attributes = tables.attributes(root, table.path())
    depends = depends_of(attributes)
    if "dictionary" in depends:
        return is_of_dictionary(root, attributes)
    if "units_sha256" in depends:
        rosetta, frame = (tables.read(root, one.path()) for one in (ROSETTA, table))
        return bool(depends["units_sha256"] == units_sha256(_measured_on(rosetta, frame)))
    return True


def outdated(root: Root) -> tuple[Artifact, ...]:
    """Those that are about an earlier dictionary."""
    there = fingerprints(root)
    return tuple(one for one in tables_after_mining() if one.path() in there and not is_current(root, one))


def _measured_on(rosetta: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of the table of Rosetta neurons that another is about: of its neurons or concepts, in its models."""
    own = rosetta["pearson"].isna()  # the anchor's rows
    if "rosetta" in frame:
        return rosetta[rosetta["rosetta"].isin(frame["rosetta"]) & (own | rosetta["model"].isin(frame["model"]))]
    return rosetta[rosetta["cluster"].isin(frame["cluster"]) & rosetta["model"].isin(frame["model"])]

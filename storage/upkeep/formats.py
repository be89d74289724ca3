"""Which version of the layout a root was written in, and whether that stands in the way of writing there."""

import json
from contextlib import suppress
from typing import Any

from rosetta.errors import UserError
from storage.artifacts.attributes import decode
from storage.artifacts.catalogue import IMAGES, PROVENANCE, SHARED, UPGRADE
from storage.artifacts.fingerprint import FORMAT, format_of
from storage.filesystem.lock import holder
from storage.filesystem.root import Root

JOURNAL = f"{UPGRADE}/journal.json"
"""How far an upgrade is; there as long as it lasts."""


def format_of_root(root: Root) -> int:
    """The version of the layout of a run; this one of a run that has not begun."""
    for path in (PROVENANCE.path(), SHARED.path(), f"{IMAGES.path()}/zarr.json"):
        with suppress(FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError):
            content: dict[str, Any] = dict(json.loads(root.read_bytes(path)))
            return int(content["format"]) if "format" in content else format_of(decode(content["attributes"]))
    return FORMAT


def require_present(root: Root) -> None:
    """
    Raises
    ------
    UserError
        The root was written in an older format, so that mining cannot resume there; says how to go on.
    """
    require_no_upgrade(root)
    if (version := format_of_root(root)) < FORMAT:
        raise UserError(
            f"{root.shown} was written in format {version}; run rosetta upgrade {root.shown} to rewrite it in format"
            f" {FORMAT}, then mine again"
        )


def unfinished_upgrade(root: Root) -> str | None:
    """What to say of an upgrade of the root that is not finished; None where there is none."""
    if not root.exists(JOURNAL):
        return None
    who = holder(root)
    if who is not None and who.alive:
        return f"under way; if it stops, rosetta upgrade {root.shown} resumes it"
    return f"cut short; run rosetta upgrade {root.shown} to finish it"


def require_no_upgrade(root: Root) -> None:
    """
    Raises
    ------
    UserError
        An upgrade of the root was cut short.
    """
    if root.exists(JOURNAL):
        raise UserError(f"{root.shown}: an upgrade was cut short; run rosetta upgrade {root.shown} to resume it")


def several_formats(root: Root) -> str:
    """What to say of a run whose stores, or those that it shares, are of several formats."""
    return f"{root.shown} has stores of several formats; run rosetta upgrade {root.shown} to make them one"

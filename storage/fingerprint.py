"""Fingerprints: what an artifact depends on, and whether the one on disk is the one that is wanted."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rosetta.errors import UserError

FORMAT = 2
"""Version of the layout of artifacts; part of every fingerprint."""


@dataclass(frozen=True)
class Fingerprint:
    """All that an artifact depends on, as plain data, and its SHA-256."""

    depends: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 of the canonical JSON of what the artifact depends on."""
        canonical = json.dumps(self.depends, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(canonical.encode()).hexdigest()

    def attributes(self) -> dict[str, Any]:
        """What an artifact carries of it."""
        return {"fingerprint": self.digest, "depends": json.loads(json.dumps(self.depends))}

    def require_match(self, artifact: str, found: Mapping[str, Any]) -> None:
        """Compare with the attributes of the artifact on disk.

        Raises
        ------
        UserError
            It was made from something else: says what, with both values, and the option that replaces it.
        """
        if found.get("fingerprint") == self.digest:
            return
        was = found.get("depends")
        difference = first_difference(was if isinstance(was, Mapping) else {}, self.depends)
        raise UserError(
            f"{artifact} was made from something else ({difference}); give --replace to make it anew, or another --root"
        )


def fingerprint(stage: str, **depends: Any) -> Fingerprint:
    """The fingerprint of a stage's artifact."""
    return Fingerprint({"stage": stage, "format": FORMAT, **depends})


def require_known_format(attributes: Mapping[str, Any], artifact: str) -> None:
    """
    Raises
    ------
    UserError
        An artifact with these attributes was written by a newer version of this project.
    """
    depends = attributes.get("depends")
    require_known(depends.get("format") if isinstance(depends, Mapping) else None, artifact)


def require_known(version: object, what: str) -> None:
    """
    Raises
    ------
    UserError
        A version of the layout is newer than this one.
    """
    if isinstance(version, int) and version > FORMAT:
        raise UserError(
            f"{what} was written by a newer rosetta (format {version}, and this one knows {FORMAT}); install that one"
        )


def first_difference(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> str:
    """The first thing in which two nested mappings differ, as `key: old → new`; empty where they agree."""
    for key in dict.fromkeys([*old, *new]):
        before, after = old.get(key), new.get(key)
        if before == after:
            continue
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            return first_difference(before, after, f"{prefix}{key}.")
        return f"{prefix}{key}: {_shown(before)} → {_shown(after)}"
    return ""


def _shown(value: Any) -> str:
    text = "nothing" if value is None else json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}…"

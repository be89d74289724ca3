"""`seals/`: what the files of a finished artifact must be, so that one wrong bit anywhere is found.

Chunks carry a checksum of their own, which finds any single bit. Everything else does not: Zarr's metadata, a table's
footer, the page. A seal is written beside an artifact once it is finished. It keeps small files whole, so that they can
be put back as they were, and of others their SHA-256.
"""

import hashlib
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from storage.filesystem.root import Root

FOLDER = "seals"


class BrokenSealError(Exception):
    """A seal is not as it was written."""


@dataclass(frozen=True)
class Seal:
    """What an artifact's files must be."""

    artifact: str
    """Its path under the root: of a store, of a table, of a folder."""
    kept: Mapping[str, bytes]
    """File → its content."""
    digests: Mapping[str, str]
    """File → its SHA-256."""

    def encode(self) -> bytes:
        """As JSON, with a digest of all the rest."""
        kept = {file: b64encode(content).decode() for file, content in sorted(self.kept.items())}
        told = {"artifact": self.artifact, "kept": kept, "digests": dict(sorted(self.digests.items()))}
        return json.dumps({**told, "sha256": sha256(_canonical(told))}, indent=1).encode()

    @classmethod
    def decode(cls, content: bytes) -> "Seal":
        """Read one.

        Raises
        ------
        BrokenSealError
            It is damaged.
        """
        try:
            told: dict[str, Any] = json.loads(content)
            digest = told.pop("sha256")
            # A bit may also be lost between two numbers or names, where JSON means the same: the whole text counts.
            if (
                digest != sha256(_canonical(told))
                or content != json.dumps({**told, "sha256": digest}, indent=1).encode()
            ):
                raise BrokenSealError
            kept = {file: b64decode(text, validate=True) for file, text in told["kept"].items()}
            return cls(told["artifact"], kept, told["digests"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BrokenSealError from error


def path(artifact: str) -> str:
    """Where an artifact's seal lies under the root."""
    return f"{FOLDER}/{artifact.replace('/', '~')}.json"


def read(root: Root, artifact: str) -> Seal | None:
    """The seal of an artifact, or None where it has none.

    Raises
    ------
    BrokenSealError
        It is damaged.
    """
    if not root.exists(path(artifact)):
        return None
    return Seal.decode(root.read_bytes(path(artifact)))


def is_guided(seal: str) -> bool:
    """Whether the path of a seal is that of an inversion's or of an edit's."""
    return seal.startswith((f"{FOLDER}/inversions~", f"{FOLDER}/edits~"))


def break_seal(root: Root, artifact: str) -> None:
    """To be called before an artifact is changed."""
    root.remove(path(artifact))


def discard(root: Root, artifact: str) -> None:
    """Remove an artifact, if it is there, and its seal."""
    break_seal(root, artifact)
    root.remove(artifact)


def sha256(content: bytes) -> str:
    """Hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def _canonical(told: Mapping[str, Any]) -> bytes:
    return json.dumps(told, sort_keys=True, separators=(",", ":")).encode()

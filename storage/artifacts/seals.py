"""`seals/`: checksums of finished artifacts, so that a single wrong bit anywhere is detected.

Chunks carry their own checksum. Other files do not: Zarr's metadata, a table's footer, the page. A seal is written
once an artifact is finished. It keeps small files whole, so that they can be restored, and the SHA-256 of all others.
"""

import hashlib
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from storage.artifacts.catalogue import SEALS
from storage.filesystem.root import Root


class BrokenSealError(Exception):
    """A seal is damaged."""


@dataclass(frozen=True)
class Seal:
    """The files of an artifact as they were when it was finished."""

    artifact: str
    """Its path under the root: of a store, of a table, of a folder."""
    kept: Mapping[str, bytes]
    """File → its content."""
    digests: Mapping[str, str]
    """File → its SHA-256."""

    def encode(self) -> bytes:
        """As JSON, with a digest of all the rest."""
        kept = {file: b64encode(content).decode() for file, content in sorted(self.kept.items())}
        content = {"artifact": self.artifact, "kept": kept, "digests": dict(sorted(self.digests.items()))}
        return _encoded(content, sha256(_canonical(content)))

    @classmethod
    def decode(cls, content: bytes) -> "Seal":
        """Read one.

        Raises
        ------
        BrokenSealError
            It is damaged.
        """
        try:
            data: dict[str, Any] = json.loads(content)
            digest = data.pop("sha256")
            # A bit may also change between two numbers or names, where JSON means the same: the whole text counts.
            if digest != sha256(_canonical(data)) or content != _encoded(data, digest):
                raise BrokenSealError
            kept = {file: b64decode(text, validate=True) for file, text in data["kept"].items()}
            return cls(data["artifact"], kept, data["digests"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BrokenSealError from error


def path(artifact: str) -> str:
    """Where an artifact's seal lies under the root."""
    return f"{SEALS}/{artifact.replace('/', '~')}.json"


def read(root: Root, artifact: str) -> Seal | None:
    """The seal of an artifact, or None where it has none.

    Raises
    ------
    BrokenSealError
        It is damaged.
    """
    try:
        content = root.read_bytes(path(artifact))
    except FileNotFoundError:
        return None
    return Seal.decode(content)


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


def _canonical(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def _encoded(content: Mapping[str, Any], digest: str) -> bytes:
    return json.dumps({**content, "sha256": digest}, indent=1).encode()

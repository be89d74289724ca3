"""`agreed.json`: what was compared with a store and found to agree, so that it need not be compared again.

It saves time and decides nothing: no seal covers it, it may be removed, and where it cannot be read or written all is
compared once more.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from storage.filesystem.root import Root

FILE = "agreed.json"


def known(*roots: Root) -> dict[str, Any]:
    """By fingerprint of a store: what agreed with it when it was last compared, as plain data."""
    found: dict[str, Any] = {}
    for root in roots:
        with suppress(OSError, ValueError, TypeError):
            found.update(json.loads(root.read_bytes(FILE)))
    return found


def keep(agreed: Mapping[str, Any], *roots: Root) -> None:
    """Add to what is known, under the first of some roots that can be written."""
    for root in roots if agreed else ():
        with suppress(OSError):
            root.write_bytes(FILE, json.dumps({**known(root), **agreed}).encode())
            return

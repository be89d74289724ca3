"""`agreed.json`: comparisons with stores that succeeded, so that they need not be repeated.

It only saves time. No seal covers it, it may be removed, and a comparison that it does not hold is repeated.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from storage.artifacts.catalogue import AGREED
from storage.filesystem.root import Root


def known(*roots: Root) -> dict[str, Any]:
    """What agreed with each store when it was last compared, by the store's fingerprint, as plain data."""
    found: dict[str, Any] = {}
    for root in roots:
        with suppress(OSError, ValueError, TypeError):
            found.update(json.loads(root.read_bytes(AGREED)))
    return found


def keep(agreed: Mapping[str, Any], *roots: Root) -> None:
    """Add comparisons to the file under the first of some roots that can be written."""
    for root in roots if agreed else ():
        with suppress(OSError):
            root.write_bytes(AGREED, json.dumps({**known(root), **agreed}).encode())
            return

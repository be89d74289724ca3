"""A local Zarr store that survives a power cut: data reach the disk before their marker.

Zarr renames whole files into place, which a killed process cannot tear. But a file system may bring a small marker to
the disk before the data that were written first; after a power cut the marker then stands alone.
"""

import asyncio
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from zarr.core.buffer import Buffer
from zarr.storage import LocalStore


def is_marker(key: str) -> bool:
    """Whether a file of a store says that others are complete: a marker of a block, or the root's attributes."""
    return key == "zarr.json" or key.startswith(("written/c", "bookkeeping/written/c"))


_SYNCED_AT_ONCE = 8
"""Files; a disk takes several about as fast as one."""


class DurableStore(LocalStore):
    """Syncs all files written so far to the disk before a marker is written."""

    def __init__(self, root: Path | str, *, read_only: bool = False) -> None:
        super().__init__(root, read_only=read_only)
        self._pending: set[Path] = set()

    async def _set(self, key: str, value: Buffer, exclusive: bool = False) -> None:
        if is_marker(key):
            await asyncio.to_thread(self._flush)
        await super()._set(key, value, exclusive)
        self._pending.add(self.root / key)
        if is_marker(key):
            await asyncio.to_thread(self._flush)

    def set_sync(self, key: str, value: Buffer) -> None:
        """As :meth:`set`, without an event loop."""
        if is_marker(key):
            self._flush()
        super().set_sync(key, value)
        self._pending.add(self.root / key)
        if is_marker(key):
            self._flush()

    def _flush(self) -> None:
        """Sync all files written so far, and their folders, to the disk."""
        files, self._pending = self._pending, set()
        _sync_all(files)
        _sync_all({file.parent for file in files})


def _sync_all(paths: Iterable[Path]) -> None:
    """Bring several to the disk, but those that were removed since."""

    def there(path: Path) -> None:
        with suppress(FileNotFoundError):
            sync(path)

    with ThreadPoolExecutor(_SYNCED_AT_ONCE) as pool:
        list(pool.map(there, paths))


def sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

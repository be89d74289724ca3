"""Counts of the bytes that pass between this process and its stores."""

import threading
import time
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore


@dataclass
class Channel:
    """One direction."""

    bytes: int = 0
    """As stored, compressed."""
    seconds: float = 0.0
    """Time during which at least one transfer was under way."""
    _busy: int = 0
    _since: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @contextmanager
    def transfer(self) -> Iterator["Channel"]:
        """One transfer, from any thread; yields the channel to add its bytes to."""
        with self._lock:
            if self._busy == 0:
                self._since = time.perf_counter()
            self._busy += 1
        try:
            yield self
        finally:
            with self._lock:
                self._busy -= 1
                if self._busy == 0:
                    self.seconds += time.perf_counter() - self._since

    def add(self, count: int) -> None:
        """Count more bytes."""
        with self._lock:
            self.bytes += count


@dataclass
class Traffic:
    """Both directions."""

    read: Channel = field(default_factory=Channel)
    written: Channel = field(default_factory=Channel)


counted: ContextVar[Traffic] = ContextVar("counted")
"""The counter of this context; without one nothing is counted."""


def reading() -> AbstractContextManager[Channel]:
    """A read in progress; yields the channel to add its bytes to."""
    return counted.get(_NOBODY).read.transfer()


def writing() -> AbstractContextManager[Channel]:
    """The same for a write."""
    return counted.get(_NOBODY).written.transfer()


_NOBODY = Traffic()


class CountedStore(WrapperStore[Store]):
    """A Zarr store whose transfers are counted.

    Zarr works in a thread of its own, but in the context of its caller.
    """

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """See :meth:`zarr.abc.store.Store.get`."""
        with reading() as channel:
            found = await self._store.get(key, prototype, byte_range)
        channel.add(0 if found is None else len(found))
        return found

    async def _get_many(
        self, requests: Iterable[tuple[str, BufferPrototype, ByteRequest | None]]
    ) -> AsyncGenerator[tuple[str, Buffer | None], None]:
        async for key, found in self._store._get_many(requests):
            counted.get(_NOBODY).read.add(0 if found is None else len(found))
            yield key, found

    async def set(self, key: str, value: Buffer) -> None:
        """See :meth:`zarr.abc.store.Store.set`."""
        with writing() as channel:
            await self._store.set(key, value)
        channel.add(len(value))

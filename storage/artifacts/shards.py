"""Arrays of activation maps in shards: one file for a block of images of a layer, cut into small chunks inside.

Whoever mines reads blocks of images over all channels; whoever asks reads a few units over all images. Zarr's sharding
codec serves both. Its pipeline does not keep up: measured, each inner chunk costs it 200 µs, so that it writes 190 MB/s
where encoding alone runs at a gigabyte per second and thread. So shards are put together and read here, as the
specification of `sharding_indexed` says: encoded chunks one after the other, then an index of their offsets and
lengths with its checksum. Zarr, and whatever else knows the codec, reads them as any other array.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from math import ceil, prod
from typing import Any

import google_crc32c
import numpy as np
import numpy.typing as npt
import zarr
from numcodecs import blosc
from numcodecs.abc import Codec
from numcodecs.blosc import Blosc
from numcodecs.zstd import Zstd
from zarr.abc.store import ByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from storage.artifacts.layout import BIT_SHUFFLED

Float32 = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

CHANNELS = 12
"""Channels in a chunk, at most: one unit's maps cost no more than so many times their own bytes."""
_ABSENT = 2**64 - 1
"""What the index says of a chunk that lies beyond the array."""
_CHECKSUM = 4
"""Bytes of a CRC-32C."""
_SEARCHED = 2**21
"""Bytes of chunks that are searched at once for what is not 0: they stay close to the processor."""
_MUCH_SMALLER = 1 / 2
"""What Zstandard must make of a layer's bytes, compared with LZ4, to be worth its time: maps that are mostly zeros."""
_LZ4 = Blosc(BIT_SHUFFLED.cname.value, BIT_SHUFFLED.clevel, Blosc.BITSHUFFLE)
_CODECS = {"lz4": (_LZ4, BIT_SHUFFLED), "zstd": (Zstd(1), ZstdCodec(level=1))}


@dataclass(frozen=True)
class Entries:
    """What is not 0 in the maps of some images, channel by channel."""

    images: int
    """How many."""
    counts: npt.NDArray[np.int64]
    """(channel,) how many entries each has."""
    places: npt.NDArray[np.int64]
    """(entry,) image · position, ascending in each channel."""
    values: Float32
    """(entry,)"""


@dataclass(frozen=True)
class Shards:
    """How the maps of a layer are cut: shards along images, and inside of each, chunks of few images and channels."""

    channels: int
    """Of the layer."""
    grid: tuple[int, int]
    images: int
    """In a chunk."""
    blocks: int
    """Chunks in a shard along images."""

    @property
    def width(self) -> int:
        """Channels in a chunk: as even as they come, so that little of the last one is empty."""
        return ceil(self.channels / self.columns)

    @property
    def columns(self) -> int:
        """Chunks along the channels."""
        return ceil(self.channels / CHANNELS)

    @property
    def chunk(self) -> tuple[int, int, int, int]:
        """Shape of a chunk."""
        return (self.images, self.width, *self.grid)

    @property
    def shard(self) -> tuple[int, int, int, int]:
        """Shape of a shard, which may reach beyond the layer's last channel."""
        return (self.images * self.blocks, self.width * self.columns, *self.grid)

    def options(self, codec: str) -> dict[str, Any]:
        """Of :meth:`zarr.Group.create_array`."""
        return {"chunks": self.chunk, "shards": self.shard, "compressors": (_CODECS[codec][1], Crc32cCodec())}

    def room(self) -> Float32:
        """(column, image, channel, y, x) zeros for one row of chunks: all channels of a chunk's images."""
        return np.zeros((self.columns, *self.chunk), np.float32)

    def split(self, maps: Float32) -> Float32:
        """Maps (image, channel, y, x) of one row of chunks, at most, in a new :meth:`room`."""
        room = self.room()
        for column, start in enumerate(range(0, self.channels, self.width)):
            part = maps[:, start : start + self.width]
            room[column, : part.shape[0], : part.shape[1]] = part
        return room

    def join(self, rows: Sequence[Sequence[bytes]]) -> bytes:
        """A whole shard.

        Parameters
        ----------
        rows
            Encoded chunks, column by column, of each row of chunks; fewer at the end of the array.
        """
        encoded = [chunk for row in rows for chunk in row]
        index = np.full((self.blocks * self.columns, 2), _ABSENT, "<u8")
        lengths = np.array([len(chunk) for chunk in encoded], np.uint64)
        index[: len(encoded), 0] = np.cumsum(lengths) - lengths
        index[: len(encoded), 1] = lengths
        return b"".join([*encoded, _with_checksum(index.tobytes())])


def encode(chunk: Float32, codec: str) -> bytes:
    """One chunk, contiguous, as it is stored."""
    if codec == "lz4":  # with less around it than the codec has: there are ten thousand chunks to a gigabyte
        return _with_checksum(blosc.compress(chunk, _LZ4.cname.encode(), _LZ4.clevel, _LZ4.shuffle))
    return _with_checksum(bytes(_CODECS[codec][0].encode(chunk)))


def best_codec(chunk: Float32) -> str:
    """Which codec suits a layer, given one of its chunks."""
    return "zstd" if len(encode(chunk, "zstd")) < _MUCH_SMALLER * len(encode(chunk, "lz4")) else "lz4"


def write_shard(array: zarr.Array, number: int, content: bytes) -> None:
    """Write the shard of some images; `content` is what :meth:`Shards.join` gives."""
    buffer = default_buffer_prototype().buffer.from_bytes(content)
    sync(array.store_path.store.set(_key(array, number), buffer))


class ShardReader:
    """Reads an array of maps (image, channel, y, x) that is stored in shards."""

    def __init__(self, array: zarr.Array) -> None:
        self._array = array
        assert array.shards is not None
        images, self.width, height, width = array.chunks
        self._shards = Shards(array.shape[1], (height, width), images, array.shards[0] // images)
        codec = "zstd" if any(isinstance(one, ZstdCodec) for one in array.compressors) else "lz4"
        self._codec: Codec = _CODECS[codec][0]
        self._last: tuple[int, npt.NDArray[np.int64]] = (-1, np.zeros((0, 2), np.int64))

    def read(self, images: slice, channels: slice, out: Float32 | None = None) -> Float32:
        """(image, channel, y, x) of some images and channels; of each image range the bytes between its first and its
        last chunk are read at once.

        Parameters
        ----------
        out
            Where they go; new memory, if left out.

        Raises
        ------
        ValueError
            A checksum is wrong.
        FileNotFoundError
            A shard is missing.
        """
        count, height, width = self._array.shape[0], *self._shards.grid
        first, stop, _ = images.indices(count)
        low, high, _ = channels.indices(self._array.shape[1])
        shape = (max(0, stop - first), max(0, high - low), height, width)
        maps = np.empty(shape, np.float32) if out is None else out
        assert maps.shape == shape, "room for just these maps"
        if not maps.size:
            return maps
        columns = range(low // self.width, ceil(high / self.width))
        for row in range(first // self._shards.images, ceil(stop / self._shards.images)):
            start = row * self._shards.images
            here = slice(max(first, start), min(stop, start + self._shards.images))
            for column, chunk in zip(columns, self._chunks(row, columns), strict=True):
                left, right = column * self.width, (column + 1) * self.width
                across = slice(max(low, left), min(high, right))
                maps[here.start - first : here.stop - first, across.start - low : across.stop - low] = chunk[
                    here.start - start : here.stop - start, across.start - left : across.stop - left
                ]
        return maps

    def entries(self, images: slice, channels: slice) -> Iterator[Entries]:
        """What is not 0 in some channels, for a row of chunks of the images after the other.

        No more than a few chunks of the maps are ever there whole.

        Raises
        ------
        ValueError, FileNotFoundError
            As :meth:`read`.
        """
        first, stop, _ = images.indices(self._array.shape[0])
        low, high, _ = channels.indices(self._array.shape[1])
        positions = self._shards.grid[0] * self._shards.grid[1]
        columns = range(low // self.width, ceil(high / self.width))
        # Chunks are small, and searched a good many at once.
        rooms = np.empty((max(1, _SEARCHED // (4 * prod(self._shards.chunk))), *self._shards.chunk), np.float32)
        for row in range(first // self._shards.images, ceil(stop / self._shards.images)):
            start = row * self._shards.images
            here = slice(max(first, start) - start, min(stop, start + self._shards.images) - start)
            chunks, parts = self._chunks(row, columns, rooms), []
            for begin in range(columns.start, columns.stop, len(rooms)):
                count = sum(1 for _ in islice(chunks, min(len(rooms), columns.stop - begin)))
                part = rooms[:count, here].reshape(count, here.stop - here.start, self.width, positions)
                # A comparison and a search for what is true are seven times as fast as a search for what is not 0.
                column, image, channel, position = np.unravel_index(np.flatnonzero(part != 0), part.shape)
                values = part[column, image, channel, position]
                channel += (begin + column) * self.width - low
                order = np.argsort(channel, kind="stable")
                parts.append([one[order] for one in (channel, image * positions + position, values)])
            channel, place, value = (np.concatenate(one) for one in zip(*parts, strict=True))
            inside = slice(*np.searchsorted(channel, (0, high - low)))
            counts = np.bincount(channel[inside], minlength=high - low)
            yield Entries(here.stop - here.start, counts, place[inside], value[inside])

    def _chunks(self, row: int, columns: range, rooms: Float32 | None = None) -> Iterator[Float32]:
        """Neighbouring chunks of one row, out of one read.

        Parameters
        ----------
        rooms
            (chunk, …) where they go, one after the other, and again from the first; each is gone when its room is used
            again. Left out, when the next one is asked for.
        """
        number, inner = divmod(row, self._shards.blocks)
        index = self._index(number)[inner * self._shards.columns :][columns.start : columns.stop]
        begin, end = int(index[0, 0]), int(index[-1].sum())
        content = self._get(number, RangeByteRequest(begin, end))
        # One chunk is decoded where the last one was: fresh memory comes from the system page by page.
        rooms = np.empty((1, *self._shards.chunk), np.float32) if rooms is None else rooms
        for (offset, length), room in zip(index, cycle(rooms), strict=False):
            self._codec.decode(_checked(content[offset - begin :][:length]), out=room)
            yield room

    def _index(self, number: int) -> npt.NDArray[np.int64]:
        """(chunk, 2) offset and length of each chunk of a shard."""
        known, index = self._last
        if known != number:
            size = 16 * self._shards.blocks * self._shards.columns
            content = self._get(number, SuffixByteRequest(size + _CHECKSUM))
            if len(content) != size + _CHECKSUM:
                raise ValueError("The shard is cut short: it has no checksum.")
            index = np.frombuffer(_checked(content), "<i8").reshape(-1, 2)
            self._last = number, index
        return index

    def _get(self, number: int, part: ByteRequest) -> Bytes:
        key = _key(self._array, number)
        found = sync(self._array.store_path.store.get(key, default_buffer_prototype(), part))
        if found is None:
            raise FileNotFoundError(f"{self._array.store_path}: shard {number} is missing")
        return found.as_numpy_array().view(np.uint8)


def _key(array: zarr.Array, number: int) -> str:
    return f"{array.path}/{array.metadata.encode_chunk_key((number, 0, 0, 0))}".lstrip("/")


def _with_checksum(content: bytes) -> bytes:
    return content + google_crc32c.value(content).to_bytes(_CHECKSUM, "little")


def _checked(content: Bytes) -> Bytes:
    """
    Raises
    ------
    ValueError
        The checksum at its end is wrong.
    """
    body, stored = content[:-_CHECKSUM], int.from_bytes(content[-_CHECKSUM:].tobytes(), "little")
    if google_crc32c.value(body) != stored:
        raise ValueError("Stored and computed checksum do not match.")
    return body

"""Sums on their way: what a worker has added up so far, and over which blocks of images.

All sums are exact (:mod:`rosetta.mining.exact`), so any set of checkpoints whose blocks do not overlap adds up to the
same bytes. A worker writes its own one again and again, to two places in turn: one of them is always whole.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import zarr
from torch import Tensor
from zarr.codecs import Crc32cCodec

from storage.artifacts.catalogue import STREAM
from storage.filesystem.root import Root

_CHUNK = 2**23
"""Numbers of a chunk."""
_SLOTS = "ab"


@dataclass(frozen=True)
class Checkpoint:
    """Sums over some blocks, as they were saved."""

    path: str
    part: str
    """Who saved it."""
    sequence: int
    """How often that had been done before."""
    blocks: tuple[int, ...]
    group: zarr.Group

    @cached_property
    def names(self) -> list[str]:
        """Of its sums."""
        return sorted(self.group.array_keys())

    def values(self, name: str) -> Tensor:
        """One of its sums.

        Raises
        ------
        ValueError
            A checksum is wrong.
        """
        array = self.group[name]
        assert isinstance(array, zarr.Array)
        return torch.from_numpy(np.asarray(array[...]))


def save(
    root: Root, number: int, part: str, fingerprint: str, sums: Mapping[str, Tensor], blocks: list[int], sequence: int
) -> None:
    """Save a part's sums of a pass over some blocks; its last ones but one are gone then.

    Parameters
    ----------
    sums
        By name, float32 or float64.
    """
    path = f"{STREAM}/{number}-{part}-{_SLOTS[sequence % 2]}.zarr"
    root.remove(path)
    group = zarr.create_group(root.store(path))
    for name, tensor in sums.items():
        values = tensor.detach().cpu().numpy()
        rows = max(1, _CHUNK // max(1, values[:1].size)) if values.ndim else 1
        array = group.create_array(
            name,
            shape=values.shape,
            dtype=values.dtype,
            chunks=(min(rows, max(1, len(values))), *(max(1, size) for size in values.shape[1:])),
            compressors=(Crc32cCodec(),),
        )
        if values.size:
            array[...] = values
    # Last: without them the rest is no checkpoint.
    group.attrs.update(
        {"fingerprint": fingerprint, "pass": number, "part": part, "sequence": sequence, "blocks": blocks}
    )


def saved(root: Root, number: int, fingerprint: str) -> list[Checkpoint]:
    """The whole checkpoints of a pass, the latest of each part; what is older, torn or of other sums is removed."""
    latest: dict[str, Checkpoint] = {}
    for path in _paths(root, number):
        found = _read(root, path, fingerprint)
        before = None if found is None else latest.get(found.part)
        if found is not None and (before is None or found.sequence > before.sequence):
            latest[found.part], found = found, before
            if found is None:
                continue
        root.remove(path if found is None else found.path)
    return [latest[part] for part in sorted(latest)]


def last_of(root: Root, number: int, part: str, fingerprint: str) -> Checkpoint | None:
    """A part's latest checkpoint."""
    found = [_read(root, f"{STREAM}/{number}-{part}-{slot}.zarr", fingerprint) for slot in _SLOTS]
    whole = [one for one in found if one is not None]
    return max(whole, key=lambda one: one.sequence) if whole else None


def _paths(root: Root, number: int) -> Iterator[str]:
    for name in root.list(STREAM):
        if name.startswith(f"{number}-") and name.endswith(".zarr"):
            yield f"{STREAM}/{name}"


def _read(root: Root, path: str, fingerprint: str) -> Checkpoint | None:
    """The checkpoint at a path; None where it was not written to its end, or belongs to other sums."""
    with suppress(FileNotFoundError, KeyError, TypeError, ValueError):
        group = zarr.open_group(root.store(path, read_only=True), mode="r")
        attributes = dict(group.attrs)
        blocks = attributes["blocks"]
        if attributes["fingerprint"] == fingerprint and isinstance(blocks, list):
            ordered = tuple(int(str(block)) for block in blocks)
            return Checkpoint(path, str(attributes["part"]), int(str(attributes["sequence"])), ordered, group)
    return None

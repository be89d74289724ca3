"""One kind of artifact, as data: where it lies, what it is, and what says that a chunk of it is complete."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from rosetta.recipe import Measurement
from storage.artifacts.columns import Columns

Kind = Literal["store", "table", "folder", "file"]
Per = Literal["run", "model", "pair", "distinct pair", "search", "figure"]
PAIRS: tuple[Per, ...] = ("pair", "distinct pair")
"""All pairs of models, and those of two that are not the same one."""
Chunk = tuple[int, ...]
DERIVED: Chunk = ()
"""In place of an entry of `written`: of a chunk that is rebuilt from others when its store is finished."""
Marker = Callable[[str, Chunk, Sequence[str]], Chunk | None]
"""Array in the store, chunk, names of the store's layers → the entry of `written` that stands for the chunk."""

STUDYING = "rosetta study"
MINE = "rosetta mine"
ABLATE, SILENCE = "rosetta ablate", "rosetta ablate --silence"
JOIN, COMPARE = "rosetta join", "rosetta compare"
BOOKKEEPING = "bookkeeping"
"""The group of a store that holds what says nothing to a reader."""
_NAME = "[a-z0-9][a-z0-9._-]*"
_FIELDS = {
    "run": (),
    "model": ("model",),
    **dict.fromkeys(PAIRS, ("a", "b")),
    "search": ("name",),
    "figure": ("name",),
}


def of_blocks(*arrays: str) -> Marker:
    """One entry per block of images, for arrays of any group that are cut along `image`."""
    return lambda array, chunk, _: chunk[:1] if array.rpartition("/")[2] in arrays else None


def of_maps(array: str, chunk: Chunk, _: Sequence[str]) -> Chunk | None:
    """One entry per block of images; none for the peaks of a layer, which follow from the bookkeeping."""
    group, _, name = array.rpartition("/")
    if name == "peak" and group != BOOKKEEPING:
        return DERIVED
    return chunk[:1] if name in ("activation", "peak", "moments") else None


def of_features(array: str, chunk: Chunk, _: Sequence[str]) -> Chunk | None:
    """One entry per block of images; stores of format 2 call `pixel_feature` by the name of a dimension."""
    values = array in ("pixel_feature", "digest") or (array == "feature" and len(chunk) > 1)
    return chunk[:1] if values else None


def of_layers(array: str, chunk: Chunk, layers: Sequence[str]) -> Chunk | None:
    """One entry per layer, for all that is in its group."""
    group = array.rpartition("/")[0]
    return (layers.index(group),) if group in layers else None


def of_pairs(*arrays: str) -> Marker:
    """One entry per panel, for (unit_a, unit_b); per guidance and batch of images, for (guidance, image, …)."""
    return lambda array, chunk, _: chunk[:2] if array in arrays else None


def of_joined(array: str, chunk: Chunk, _: Sequence[str]) -> Chunk | None:
    """One entry per pivot and panel, for (pivot, unit_a, unit_b)."""
    return chunk if array == "strength" else None


@dataclass(frozen=True)
class Artifact:
    """One kind of artifact."""

    pattern: str
    """Path under the root, with `{model}`, `{a}` and `{b}`, or `{name}` where there is more than one."""
    kind: Kind
    """A Zarr store, a Parquet table, a folder that is sealed as a whole, or a single file."""
    per: Per
    """What there is one of: per run, per model, per pair of models (:data:`PAIRS`), per search (an inversion or edit),
    per figure or explanation."""
    about: str
    """What it holds, for the documentation."""
    made_from: tuple["Artifact", ...] = ()
    """What it is computed from."""
    shareable: bool = False
    """Of a store: whether a run may use the one under another root (`images.from`)."""
    expected: bool = True
    """Whether a run is unfinished without it."""
    measured: Measurement | None = None
    """Of what is measured for the sake of trust alone: the measurement, which a recipe may leave out."""
    added: bool = False
    """Whether runs of earlier versions are whole without it."""
    marker: Marker | None = None
    """Of a store: which entry of `written` stands for a chunk."""
    index: str = ""
    """Of a folder: the file in it that is written last and carries its fingerprint."""
    parts: tuple[str, ...] = ()
    """Of a folder: the other files without which it is not finished."""
    columns: Columns = ()
    """Of a table: its columns, in order."""
    tables: tuple["Artifact", ...] = ()
    """Of a folder: the tables in it."""
    kept: bool = False
    """Of a file: whether its seal keeps it whole, so that it can be restored."""
    command: str = MINE
    """The command that makes, seals and rebuilds it."""

    def path(self, *names: str) -> str:
        """Where one lies under the root.

        Parameters
        ----------
        names
            None for one per run; a model; two models of a pair; the name of a search, figure or explanation.
        """
        return self.pattern.format(**dict(zip(_FIELDS[self.per], names, strict=True)))

    def names(self, path: str) -> tuple[str, ...] | None:
        """What `path` is of, as :meth:`path` takes it; None where it is not the path of such an artifact."""
        match = re.fullmatch(regex(self.pattern), path)
        return None if match is None else tuple(match[field] for field in _FIELDS[self.per])

    @property
    def name(self) -> str:
        """Of one per run: what people call it, `rosetta` of `tables/rosetta.parquet`."""
        return self.pattern.rpartition("/")[2].partition(".")[0]

    def entry(self, array: str, chunk: Chunk, layers: Sequence[str] = ()) -> Chunk | None:
        """Which entry of a store's `written` says that a chunk is complete.

        Parameters
        ----------
        array
            Path of the array in the store.
        chunk
            Its position along each axis.
        layers
            Names of the store's layers, in order.

        Returns
        -------
        tuple of int, or None
            :data:`DERIVED` where the chunk follows from others; None where no entry stands for it: of labels, say,
            which are written with the layout.
        """
        if array in ("written", f"{BOOKKEEPING}/written"):
            return chunk
        return self.marker(array, chunk, layers) if self.marker else None


def regex(pattern: str) -> str:
    """The regular expression of a pattern of paths: each name in it a group."""
    return re.sub(r"\\\{(\w+)\\\}", rf"(?P<\1>{_NAME})", re.escape(pattern))

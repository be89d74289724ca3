"""`correlations/<a>~<b>.zarr`: the correlation of every unit of one model with every unit of another."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import zarr

from rosetta.units import Units
from storage import zarrs
from storage.blocks import MIB, block_count, block_slice
from storage.fingerprint import Fingerprint
from storage.location import Root

_CHUNK = 16 * MIB


def path(a: str, b: str) -> str:
    """Where the correlations of a pair lie under the root."""
    return f"correlations/{a}~{b}.zarr"


@dataclass(frozen=True)
class CorrelationStore:
    """The correlations of a pair, written in bands of whole rows."""

    group: zarr.Group

    @classmethod
    def create(
        cls, root: Root, a: str, b: str, fingerprint: Fingerprint, units_a: Units, units_b: Units
    ) -> "CorrelationStore":
        """Lay the store out."""
        group = zarr.create_group(root.store(path(a, b)), overwrite=True)
        rows = min(len(units_a), max(1, _CHUNK // (4 * len(units_b))))
        zarrs.create_array(
            group,
            "pearson",
            shape=(len(units_a), len(units_b)),
            chunks=(rows, len(units_b)),
            dtype="float32",
            dimensions=("unit_a", "unit_b"),
            fill=float("nan"),
            coordinates="layer_a channel_a layer_b channel_b",
        )
        zarrs.create_array(
            group,
            "written",
            shape=(block_count(len(units_a), rows),),
            chunks=(1,),
            dtype="bool",
            dimensions=("band",),
            fill=False,
        )
        for side, units in (("a", units_a), ("b", units_b)):
            zarrs.create_labels(group, f"layer_{side}", units.layer_names(), f"unit_{side}")
            zarrs.create_labels(group, f"channel_{side}", units.channels(), f"unit_{side}")
        zarrs.seal_layout(group, fingerprint, {"model_a": a, "model_b": b})
        return cls(group)

    @classmethod
    def open(cls, root: Root, a: str, b: str, fingerprint: Fingerprint) -> "CorrelationStore | None":
        """The store to go on with, or None.

        Raises
        ------
        UserError
            It was made from something else.
        """
        group = zarrs.open_existing(root, path(a, b))
        if group is None:
            return None
        fingerprint.require_match(path(a, b), group.attrs)
        return cls(group)

    @classmethod
    def read(cls, root: Root, a: str, b: str) -> "CorrelationStore":
        """A finished store.

        Raises
        ------
        FileNotFoundError
            There is none, or it is not finished.
        """
        return cls(zarrs.open_complete(root, path(a, b)))

    @property
    def complete(self) -> bool:
        """Whether everything is in."""
        return bool(self.group.attrs.get("complete"))

    @property
    def band(self) -> int:
        """Rows of a band; a chunk holds whole rows."""
        return int(self._array("pearson").chunks[0])

    def missing(self) -> list[slice]:
        """The bands of rows that are not in yet."""
        written = np.asarray(self._array("written")[:])
        rows = self._array("pearson").shape[0]
        return [block_slice(int(band), self.band, rows) for band in np.flatnonzero(~written)]

    def pearson(self) -> npt.NDArray[np.float32]:
        """(unit_a, unit_b) float32."""
        return np.asarray(self._array("pearson")[:])

    def write(self, rows: slice, pearson: npt.NDArray[np.float32]) -> None:
        """Write whole bands, then their markers.

        Parameters
        ----------
        rows
            Starts at a band; ends at one or at the last row.
        """
        self._array("pearson")[rows] = pearson
        self._array("written")[rows.start // self.band : block_count(rows.stop, self.band)] = True

    def finish(self) -> None:
        """Say that everything is in."""
        zarrs.complete(self.group)

    def _array(self, name: str) -> zarr.Array:
        return zarrs.array_of(self.group, name)

"""`ablations.zarr` and `silencings.zarr`: what `rosetta ablate` measures, part by part."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from storage.artifacts import layout
from storage.artifacts.blocks import block_count, block_slice
from storage.artifacts.catalogue import ABLATIONS, SILENCINGS
from storage.artifacts.fingerprint import Fingerprint
from storage.artifacts.store import ArtifactStore
from storage.filesystem.root import Root

Float64 = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]
_MODELS = "models"
"""The group of the groups of models, whose names may be any."""


@dataclass(frozen=True)
class AblationStore(ArtifactStore):
    """What interventions on units of G do to all units of each model, in blocks of interventions."""

    artifact = ABLATIONS

    @classmethod
    def create(
        cls, root: Root, fingerprint: Fingerprint, *, units: Index, neurons: int, models: Mapping[str, int], block: int
    ) -> "AblationStore":
        """Lay the store out.

        Parameters
        ----------
        units
            (ablated,) units of G.
        neurons
            How many of them, the first, are of Rosetta neurons; the others are random ones.
        models
            By name, how many units each has.
        """
        group, count = layout.create_store(root, cls.path()), len(units)
        layout.create_labels(group, "anchor_unit", units.astype(np.int32), "ablated", "unit of the generator")
        random = np.arange(count) >= neurons
        layout.create_labels(group, "random", random, "ablated", "whether it is a random unit, no Rosetta neuron")
        for name, width in models.items():
            inner = group.create_group(f"{_MODELS}/{name}")
            layout.create_index(inner, "unit", width, f"unit of {name}")
            axes: layout.Axes = {"ablated": (count, block), "unit": width}
            arrays = (
                (
                    "effect",
                    "how far the unit follows",
                    "NaN of a constant unit; causal_effect in tables/causes.parquet",
                ),
                ("change", "root mean square of its change", "NaN of a constant unit"),
            )
            for array, long_name, about in arrays:
                layout.create_array(inner, array, "float64", axes, long_name, description=about, fill=float("nan"))
        layout.create_written(group, block=block_count(count, block))
        layout.seal_layout(group, fingerprint, {"block": block, "models": list(models)})
        return cls(group)

    @property
    def missing(self) -> list[slice]:
        """The interventions of each block that is not complete."""
        (count,) = self._array("anchor_unit").shape
        return [block_slice(int(block), self.block, count) for block in np.flatnonzero(~self.written())]

    def write(self, span: slice, found: Mapping[str, tuple[Float64, Float64]]) -> None:
        """Write one block, then its marker.

        Parameters
        ----------
        found
            By model: (ablated, unit) effects and changes.
        """
        for model, (effect, change) in found.items():
            self._array(_MODELS, model, "effect")[span] = effect
            self._array(_MODELS, model, "change")[span] = change
        self.mark(span.start // self.block)

    def effects(self, model: str, span: slice = slice(None)) -> Float64:
        """(ablated, unit) how far each unit of a model follows some interventions."""
        return np.asarray(self._array(_MODELS, model, "effect")[span])

    def changes(self, model: str, span: slice = slice(None)) -> Float64:
        """(ablated, unit) root mean square of each unit's change."""
        return np.asarray(self._array(_MODELS, model, "change")[span])


@dataclass(frozen=True)
class SilencingStore(ArtifactStore):
    """What models put out when sets of their units are silenced, concept by concept; set 0 is the concept's own."""

    artifact = SILENCINGS

    @classmethod
    def create(
        cls,
        root: Root,
        fingerprint: Fingerprint,
        *,
        concepts: Sequence[int],
        sets: int,
        measures: Sequence[str],
        classes: Mapping[str, Sequence[str] | None],
    ) -> "SilencingStore":
        """Lay the store out.

        Parameters
        ----------
        sets
            How many there are, the concept's own counted.
        classes
            By model: names of the classes that it scores, None where it scores none.
        """
        group, count = layout.create_store(root, cls.path()), len(concepts)
        layout.create_labels(group, "concept", np.asarray(concepts, np.int32), "concept", "number of the concept")
        layout.create_index(group, "set", sets, "number of the set; 0 is the concept's own")
        layout.create_labels(group, "measure", list(measures), "measure", "how outputs are compared")
        for name, names in classes.items():
            inner = group.create_group(f"{_MODELS}/{name}")
            axes: layout.Axes = {"concept": (count, 1), "set": sets, "measure": len(measures)}
            about = "distance over length before, cosine, length over length before; means over images"
            layout.create_array(inner, "moved", "float64", axes, "how far the output moves", description=about)
            if names is not None:
                layout.create_labels(inner, "label", list(names), "class", "name of the class")
                axes = {"concept": (count, 1), "set": sets, "class": len(names)}
                about = "mean over images, before the softmax"
                layout.create_array(inner, "shift", "float64", axes, "change of a class's score", description=about)
        layout.create_written(group, concept=count)
        layout.seal_layout(group, fingerprint, {"models": list(classes)})
        return cls(group)

    @property
    def concepts(self) -> list[int]:
        """Their numbers."""
        return [int(number) for number in np.asarray(self._array("concept")[:])]

    def write(self, position: int, found: Mapping[str, tuple[Float64, Float64 | None]]) -> None:
        """Write one concept, then its marker.

        Parameters
        ----------
        found
            By model: (set, measure) and, where it scores classes, (set, class).
        """
        for model, (moved, shift) in found.items():
            self._array(_MODELS, model, "moved")[position] = moved
            if shift is not None:
                self._array(_MODELS, model, "shift")[position] = shift
        self.mark(position)

    def found(self, model: str) -> tuple[Float64, Float64 | None, list[str]]:
        """(concept, set, measure), and where the model scores classes (concept, set, class) with the classes' names."""
        moved = np.asarray(self._array(_MODELS, model, "moved")[...])
        if f"{_MODELS}/{model}/shift" not in self.group:
            return moved, None, []
        names = [str(name) for name in np.asarray(self._array(_MODELS, model, "label")[:])]
        return moved, np.asarray(self._array(_MODELS, model, "shift")[...]), names

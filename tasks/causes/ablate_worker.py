"""What is done in one place to ablate units: a block of interventions on all images, seen by all models.

Everything here runs wherever the work is spread to (:mod:`tasks.causes.spread`), and may run twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from rosetta.guidance.ablation import FLOOR, Intervention, Scale, measured
from rosetta.guidance.causes import Ablated
from rosetta.units import Grid, Units
from storage.artifacts.causes import AblationStore
from storage.artifacts.fingerprint import Fingerprint
from tasks.causes.run import CausesRun

Float64 = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]
Maps = dict[str, Tensor]
_KEPT = 4
"""One part in so many of the memory is for maps of images as they are, which every block of interventions needs."""


@dataclass(frozen=True)
class Ablating:
    """What is intervened on, and who looks: all that the numbers depend on."""

    intervention: Intervention
    ablated: Ablated
    neurons: pd.DataFrame
    """One row a neuron, in the order of the ablated units: rosetta, cluster, anchor_unit."""
    models: tuple[str, ...]
    images: Index
    """(image,) positions in the stores."""
    batch: int
    fingerprint: Fingerprint


@dataclass
class _Before:
    """What images are made of, and their maps in every model as they are without an intervention; kept while there is
    room.
    """

    plan: Ablating
    room: int
    """Bytes, for maps."""
    kept: dict[int, tuple[Maps, dict[str, Maps]]] = field(default_factory=dict)
    drawn: dict[int, tuple[Tensor, Tensor | None]] = field(default_factory=dict)
    alone: Lock = field(default_factory=Lock)

    def __call__(self, run: CausesRun, image: int) -> tuple[Maps, dict[str, Maps]]:
        """(1, channel, y, x) by layer of G, and by model and layer."""
        with self.alone:
            if image not in self.kept:
                own, seen = self._found(run, image)
                size = sum(maps.nbytes for of_model in (own, *seen.values()) for maps in of_model.values())
                if size > self.room:
                    return own, seen
                self.room -= size
                self.kept[image] = own, seen
            return self.kept[image]

    def latents(self, run: CausesRun, image: int, count: int) -> tuple[Tensor, Tensor | None]:
        """(count, z) and, of a conditional generator, (count,): the latents and class of one image, again and again."""
        if image not in self.drawn:
            store, span = run.data.pictures, slice(image, image + 1)
            classes = store.classes(span)
            self.drawn[image] = (
                torch.from_numpy(store.latents(span)),
                None if classes is None else torch.from_numpy(classes),
            )
        latents, classes_of = self.drawn[image]
        return latents.expand(count, -1), None if classes_of is None else classes_of.expand(count)

    def _found(self, run: CausesRun, image: int) -> tuple[Maps, dict[str, Maps]]:
        made, own = run.model(run.data.anchor).generate(*self.latents(run, image, 1))
        index = [index_of(run, image)]
        return own, {name: run.model(name).observe(made, index) for name in self.plan.models}


_before: WeakKeyDictionary[CausesRun, _Before] = WeakKeyDictionary()
"""For all blocks that are worked on in this process."""


def index_of(run: CausesRun, image: int) -> int:
    """The index among all images of the run of the one at a position in the stores."""
    return int(run.data.image_indices[image])


def ablate_block(run: CausesRun, plan: Ablating, span: slice) -> None:
    """Measure one block of interventions, and write it."""
    store = AblationStore.open(run.data.root, plan.fingerprint)
    assert store is not None, "it is laid out before work is given out"
    before = _before.setdefault(run, _Before(plan, run.data.recipe.compute.memory_bytes // _KEPT))
    store.write(span, _block(run, plan, plan.ablated.units[span], before))


def _block(run: CausesRun, plan: Ablating, units: Index, before: _Before) -> dict[str, tuple[Float64, Float64]]:
    """By model: (unit of G, unit of the model) effects and root mean squares, means over all images."""
    anchor = run.scale(run.data.anchor)
    scales = {name: run.scale(name) for name in plan.models}
    effect = {name: np.zeros((len(units), len(scale.std))) for name, scale in scales.items()}
    square = {name: np.zeros_like(of_model) for name, of_model in effect.items()}
    change, generator = plan.intervention.change(anchor, units), run.model(run.data.anchor)
    grids = {grid for scale in scales.values() for grid in scale.units.grids()}
    for image in map(int, plan.images):
        own, seen = before(run, image)
        made, _ = generator.generate(*before.latents(run, image, len(units)), take=lambda *_: None, write=change)
        weights = {grid: plan.intervention.weights(anchor, own, units, grid) for grid in grids}
        for name, scale in scales.items():
            moves = _Moves(scale.units, seen[name], weights, effect[name], square[name])
            run.model(name).observe(made, [index_of(run, image)] * len(units), moves)
    return {name: _on_scale(scale, effect[name], square[name], len(plan.images)) for name, scale in scales.items()}


@dataclass(frozen=True)
class _Moves:
    """Takes the maps of layers after interventions, and adds up how far their units have moved."""

    units: Units
    before: Maps
    weights: Mapping[Grid, Tensor]
    effect: Float64
    """(intervention, unit) where it is added."""
    square: Float64

    def __call__(self, layer: str, maps: Tensor) -> None:
        span = self.units.span(layer)
        effect, square = measured(self.before[layer], maps, self.weights[maps.shape[2], maps.shape[3]])
        self.effect[:, span] += effect
        self.square[:, span] += square


def _on_scale(scale: Scale, effect: Float64, square: Float64, count: int) -> tuple[Float64, Float64]:
    """Sums over so many images as means, in standard deviations of each unit."""
    std = np.where(scale.std > 0, scale.std, np.nan)
    effects = effect / (count * std)
    return np.where(np.abs(effects) < FLOOR, 0.0, effects), np.sqrt(square / count) / std

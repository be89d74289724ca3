"""Stages `ablate` and `causes`: units of G ablated or raised, and whether their buddies follow."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from rosetta.guidance.ablation import FLOOR, Intervention, Scale, measured
from rosetta.guidance.causes import Ablated, compared, ranks
from rosetta.units import Grid, Units
from storage.artifacts import tables
from storage.artifacts.catalogue import CAUSES, ROSETTA
from storage.artifacts.causes import AblationStore
from storage.artifacts.fingerprint import Fingerprint
from storage.filesystem.root import Root
from tasks.causes.run import CausesRun
from tasks.stage.progress import track
from tasks.stage.stage import Outcome, stage

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
    """One image, and its maps in every model, as they are without an intervention; kept while there is room."""

    run: CausesRun
    plan: Ablating
    room: int
    """Bytes."""
    kept: dict[int, tuple[Maps, dict[str, Maps]]] = field(default_factory=dict)

    def __call__(self, image: int) -> tuple[Maps, dict[str, Maps]]:
        """(1, channel, y, x) by layer of G, and by model and layer."""
        if image not in self.kept:
            made, own = self.run.model(self.run.data.anchor).generate(*latents_of(self.run, image, 1))
            index = [index_of(self.run, image)]
            seen = {name: self.run.model(name).observe(made, index) for name in self.plan.models}
            size = sum(maps.nbytes for of_model in (own, *seen.values()) for maps in of_model.values())
            if size > self.room:
                return own, seen
            self.room -= size
            self.kept[image] = own, seen
        return self.kept[image]


def index_of(run: CausesRun, image: int) -> int:
    """The index among all images of the run of the one at a position in the stores."""
    return int(run.data.image_indices[image])


def latents_of(run: CausesRun, image: int, count: int) -> tuple[Tensor, Tensor | None]:
    """(count, z) and, of a conditional generator, (count,): the latents and class of one image, again and again."""
    store, span = run.data.pictures, slice(image, image + 1)
    classes = store.classes(span)
    latents = torch.from_numpy(store.latents(span)).expand(count, -1)
    return latents, None if classes is None else torch.from_numpy(classes).expand(count)


def ablate_blocks(run: CausesRun, store: AblationStore, plan: Ablating) -> None:
    """Measure whatever of a store is missing, block by block of interventions."""
    before = _Before(run, plan, run.data.recipe.compute.memory_bytes // _KEPT)
    missing = store.missing
    with track("ablate", sum(span.stop - span.start for span in missing)) as advance:
        for span in missing:
            store.write(span, _block(run, plan, plan.ablated.units[span], before))
            advance(span.stop - span.start)


def _block(run: CausesRun, plan: Ablating, units: Index, before: _Before) -> dict[str, tuple[Float64, Float64]]:
    """By model: (unit of G, unit of the model) effects and root mean squares, means over all images."""
    anchor = run.scale(run.data.anchor)
    scales = {name: run.scale(name) for name in plan.models}
    effect = {name: np.zeros((len(units), len(scale.std))) for name, scale in scales.items()}
    square = {name: np.zeros_like(of_model) for name, of_model in effect.items()}
    change, generator = plan.intervention.change(anchor, units), run.model(run.data.anchor)
    for image in map(int, plan.images):
        own, seen = before(image)
        made, _ = generator.generate(*latents_of(run, image, len(units)), take=lambda *_: None, write=change)
        for name, scale in scales.items():
            weights = {grid: plan.intervention.weights(anchor, own, units, grid) for grid in scale.units.grids()}
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


def fill_ablations(root: Root, plan: Ablating) -> Outcome:
    """`ablations.zarr`: go on with whatever is missing."""
    run = CausesRun.open(root)
    store = AblationStore.open(root, plan.fingerprint)
    if store is None:
        store = AblationStore.create(
            root,
            plan.fingerprint,
            units=plan.ablated.units,
            neurons=plan.ablated.neurons,
            models={name: len(run.data.stores[name].units) for name in plan.models},
            block=plan.batch,
        )
    if store.complete:
        return "skipped"
    ablate_blocks(run, store, plan)
    store.finish()
    return "done"


ablate = stage("ablate")(fill_ablations)


def make_causes(root: Root, plan: Ablating) -> Outcome:
    """`tables/causes.parquet`."""
    if tables.attributes(root, CAUSES.path()).get("fingerprint") == plan.fingerprint.digest:
        return "skipped"
    run = CausesRun.open(root)
    store = AblationStore.read(root)
    frames, random = [], {}
    for name in plan.models:
        frame, of_random = of_model(run, store, plan, name)
        frames.append(frame)
        random[name] = of_random
    units = {name: run.data.stores[name].units for name in run.data.models}
    frame = pd.concat(frames, ignore_index=True).sort_values("rosetta", kind="stable", ignore_index=True)
    about = {"random": random, "notes": notes_of(run, plan)}
    tables.write(root, CAUSES.path(), frame, plan.fingerprint, tables.categories_of(units), **about)
    return "done"


write_causes = stage("causes")(make_causes)


def of_model(
    run: CausesRun, store: AblationStore, plan: Ablating, name: str
) -> tuple[pd.DataFrame, list[float | None]]:
    """The rows of one model, and the p-value of each random unit that is compared in the place of a neuron.

    A random unit takes the place of the neuron that it is most like: it is asked of that one's buddy.
    """
    ablated, layers = plan.ablated, run.data.stores[name].units.layer_index()
    rosetta = run.data.table(ROSETTA)
    own = rosetta[rosetta["model"] == name].set_index("rosetta").loc[plan.neurons["rosetta"]]
    buddies, count = own["unit"].to_numpy(np.intp), ablated.neurons
    effect, change, rank = (np.empty(count) for _ in range(3))
    # Block by block: all effects on all units may be more than memory holds.
    for rows in _spans(0, count, store.block):
        of_rows, mine = store.effects(name, rows), buddies[rows]
        each = np.arange(len(mine))
        effect[rows], change[rows] = of_rows[each, mine], store.changes(name, rows)[each, mine]
        rank[rows] = ranks(of_rows, mine, layers)
    parts = [store.effects(name, rows)[:, buddies] for rows in _spans(count, len(ablated.units), store.block)]
    of_random = np.concatenate([np.empty((0, count)), *parts])
    found = compared(ablated, np.arange(count), effect, of_random)
    frame = pd.DataFrame(
        {
            **{column: plan.neurons[column].to_numpy() for column in ("rosetta", "cluster", "anchor_unit")},
            "model": name,
            **{column: own[column].to_numpy() for column in ("unit", "layer", "channel")},
            "causal_effect": effect,
            "causal_change": change,
            "causal_rank": rank,
            "random_units": found.count.astype(np.int32),
            "random_effect": found.random,
            "causal_p": found.p,
            "causal_q": found.q,
        }
    )
    random = np.arange(count, len(ablated.units))
    in_place = of_random[:, ablated.like[random]]
    p = compared(ablated, random, in_place.diagonal(), in_place).p
    return frame, [None if np.isnan(one) else float(one) for one in p]


def _spans(start: int, stop: int, size: int) -> Iterator[slice]:
    return (slice(first, min(first + size, stop)) for first in range(start, stop, size))


def notes_of(run: CausesRun, plan: Ablating) -> list[str]:
    """What a reader must know of the p-values: the least that are possible, and what that asks of all q-values."""
    ablated, layers = plan.ablated, run.data.stores[run.data.anchor].units.layers
    notes = []
    least_of_all = []
    for layer in np.unique(ablated.layer[: ablated.neurons]):
        first = int(np.flatnonzero(ablated.layer == layer)[0])
        count = len(ablated.random(first))
        least = f"no p of its neurons is below {1 / (1 + count):.3g}" if count else "its neurons have no p"
        notes.append(f"{layers[layer].name}: {count} random units, so {least}")
        least_of_all.append(1 / (1 + count))
    q = run.data.recipe.trust.q
    if (needed := min(least_of_all) / q) > 1:
        notes.append(f"no q can reach {q:g}; raise --random")
    elif needed > 0.1:
        notes.append(
            f"q ≤ {q:g} needs at least {needed:.0%} of the neurons at the least p; more --random ask for fewer"
        )
    return notes

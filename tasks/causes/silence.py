"""Stages `silence` and `silenced`: what discriminative models put out without the units of a concept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from rosetta.guidance.silencing import MEASURES, Readout, lines, moved, random_sets, readout, silence
from rosetta.zoo.image_arrays import from_pixels
from storage.artifacts import tables
from storage.artifacts.catalogue import SILENCED
from storage.artifacts.causes import SilencingStore
from storage.artifacts.fingerprint import Fingerprint
from storage.filesystem.root import Root
from tasks.causes.run import CausesRun
from tasks.causes.spread import spread
from tasks.stage.stage import Outcome, stage

Float64 = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Silencing:
    """What is silenced, and who is asked: all that the numbers depend on."""

    units: Mapping[int, Mapping[str, Index]]
    """By concept and model: the concept's units there."""
    models: tuple[str, ...]
    images: Index
    """(image,) positions in the stores."""
    sets: int
    """Random sets of units."""
    seed: int
    batch: int
    fingerprint: Fingerprint


def silence_concept(
    run: CausesRun, plan: Silencing, concept: int, before: Mapping[str, Readout]
) -> dict[str, tuple[Float64, Float64 | None]]:
    """By model: (set, measure), and (set, class) where it scores classes; means over all images, set 0 the own one."""
    found = {}
    for name in plan.models:
        scale, own = run.scale(name), plan.units[concept][name]
        sets = [own, *random_sets(scale, own, plan.sets, (plan.seed, concept, crc32(name.encode())))]
        base = before[name]
        measures = np.zeros((len(sets), len(MEASURES)))
        shift = None if base.classes is None else np.zeros((len(sets), base.values.shape[1]))
        for place, image in enumerate(map(int, plan.images)):
            pixels, asked = _pixels(run, image), base.values[place]
            for start in range(0, len(sets), plan.batch):
                span = slice(start, min(start + plan.batch, len(sets)))
                after = _output(run, name, image, pixels, sets[span]).values
                measures[span] += moved(asked[None], after)
                if shift is not None:
                    shift[span] += (after - asked).numpy()
        count = len(plan.images)
        found[name] = measures / count, None if shift is None else shift / count
    return found


def write_silenced_concept(run: CausesRun, plan: Silencing, piece: tuple[int, Mapping[str, Readout]]) -> None:
    """Measure one concept, by its position in the store, and write it."""
    store = SilencingStore.open(run.data.root, plan.fingerprint)
    assert store is not None, "it is laid out before work is given out"
    position, before = piece
    store.write(position, silence_concept(run, plan, store.concepts[position], before))


def outputs(run: CausesRun, plan: Silencing) -> dict[str, Readout]:
    """By model: what it puts out for all images as they are.

    Raises
    ------
    UserError
        A model puts out nothing that could be compared.
    """
    found = {}
    for name in plan.models:
        each = [_output(run, name, image, _pixels(run, image)) for image in map(int, plan.images)]
        found[name] = Readout(torch.cat([one.values for one in each]), each[0].classes)
    return found


def _output(run: CausesRun, name: str, image: int, pixels: Tensor, sets: Sequence[Index] | None = None) -> Readout:
    """(set, …) what a model puts out for an image with each of some sets of units at their mean; as it is, without."""
    model = run.model(name)
    write = None if sets is None else silence(run.scale(name), sets)
    count = 1 if sets is None else len(sets)
    index = int(run.data.image_indices[image])
    shown = pixels.to(model.device).expand(count, -1, -1, -1)
    return readout(model, model.respond(shown, [index] * count, write))


def _pixels(run: CausesRun, image: int) -> Tensor:
    """(1, rgb, y, x) of an image by its position."""
    return from_pixels(run.data.pictures.pixels(slice(image, image + 1)), torch.device("cpu"))


def fill_silencings(root: Root, plan: Silencing) -> Outcome:
    """`silencings.zarr`: go on with whatever is missing."""
    store = SilencingStore.open(root, plan.fingerprint)
    if store is not None and store.complete:
        return "skipped"
    run = CausesRun.open(root)
    before = outputs(run, plan)
    if store is None:
        store = SilencingStore.create(
            root,
            plan.fingerprint,
            concepts=list(plan.units),
            sets=1 + plan.sets,
            measures=MEASURES,
            classes={name: found.classes for name, found in before.items()},
        )
    missing = [(int(position), before) for position in np.flatnonzero(~store.written())]
    spread("silence", run, plan.models, write_silenced_concept, plan, missing)
    store.finish()
    return "done"


silence_concepts = stage("silence")(fill_silencings)


def make_silenced(root: Root, plan: Silencing) -> Outcome:
    """`tables/silenced.parquet`."""
    if tables.attributes(root, SILENCED.path()).get("fingerprint") == plan.fingerprint.digest:
        return "skipped"
    run, store = CausesRun.open(root), SilencingStore.read(root)
    rows = []
    for name in plan.models:
        moves, shifts, labels = store.found(name)
        for position, concept in enumerate(store.concepts):
            shift = None if shifts is None else shifts[position]
            for line in lines(moves[position, :, MEASURES.index("distance")], shift):
                whole = dict(zip(MEASURES, moves[position, 0], strict=True)) if line.rank == 0 else {}
                rows.append(
                    {
                        "cluster": concept,
                        "model": name,
                        "units": len(plan.units[concept][name]),
                        "rank": line.rank,
                        "class": line.index,
                        "label": labels[line.index] if line.index >= 0 else "",
                        "change": line.change,
                        "random": line.random,
                        "p_value": line.p,
                        "cosine": whole.get("cosine", np.nan),
                        "norm": whole.get("norm", np.nan),
                    }
                )
    whole_numbers = dict.fromkeys(("cluster", "units", "rank", "class"), np.int32)
    frame = pd.DataFrame(rows).astype({**whole_numbers, "model": "str", "label": "str"})
    frame = frame.sort_values("cluster", kind="stable", ignore_index=True)
    units = {name: run.data.stores[name].units for name in run.data.models}
    notes = [f"{plan.sets} random sets, so no p is below {1 / (1 + plan.sets):.3g}"] if plan.sets else []
    tables.write(root, SILENCED.path(), frame, plan.fingerprint, tables.categories_of(units), notes=notes)
    return "done"


write_silenced = stage("silenced")(make_silenced)

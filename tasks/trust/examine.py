"""Stage `examine`: what only the maps of matched units say, of the buddies of each pair of models.

Maps are read once for all matches of a group. Where the memory does not hold the sums of all matches at once, there
are more groups, and layers that several of them need are read for each.
"""

import numpy as np
import numpy.typing as npt
import pandas as pd
from dask.delayed import Delayed, delayed

from rosetta.mining.groups import Pair
from rosetta.mining.trust.examine import MOST_CLASSES
from rosetta.units import Units
from storage.artifacts import tables
from storage.artifacts.activations import ActivationStore
from storage.artifacts.catalogue import ACTIVATIONS, BUDDIES, CORRELATIONS, EXAMINED
from storage.artifacts.features import FeatureStore
from storage.artifacts.fingerprint import Fingerprint, fingerprint
from storage.artifacts.finished import is_finished
from storage.artifacts.images import ImageStore
from storage.artifacts.nearest import buddies_of
from tasks.cluster.engine import engine, part
from tasks.correlate.setting import Setting
from tasks.plan import Plan, Stage
from tasks.stage.memory import keep_freed_memory
from tasks.stage.metrics import saw_images
from tasks.stage.progress import track
from tasks.trust.examine_plan import in_groups
from tasks.trust.examine_table import write_examined
from tasks.trust.examine_worker import Block, Question, examine_blocks
from tasks.trust.table import reason_not_to

_BLOCK, _BLOCK_IMAGES = (16, 256), 2**24
"""Matches of a block, at least and at most where there are more; and matches times images. What is in a block follows
from the run alone: how many matches are multiplied at once decides how sums are rounded."""


def fingerprint_of(plan: Plan, a: str, b: str) -> Fingerprint:
    """Of what the maps say of one pair's buddies."""
    return fingerprint(
        "examined",
        correlations=plan.digest(CORRELATIONS, a, b),
        activations=[plan.digest(ACTIVATIONS, name) for name in (a, b)],
        neighbours=plan.recipe.matching.neighbours,
        resamples=plan.recipe.trust.resamples,
        resample=plan.recipe.trust.resample,
        seed=plan.recipe.images.seed,
    )


def examine_pairs(plan: Plan) -> None:
    """Examine the buddies of all pairs; a table for each pair.

    Raises
    ------
    UserError
        The memory is too small for the matches between two layers.
    """
    root, setting = plan.root.absolute, Setting.of(plan)
    left = [pair for pair in plan.pairs if not _is_examined(plan, pair)]
    features = FeatureStore.read(root)
    images = features.shape[0]
    reason = reason_not_to(images, features.distinct, plan.recipe.matching.correlation)
    if reason:
        for pair in left:
            write_examined(root, pair, plan.fingerprint(EXAMINED, *pair), [reason], [])
        return
    keep_freed_memory()
    stores = {name: ActivationStore.read(root, name) for name in dict.fromkeys(name for pair in left for name in pair)}
    buddies = tables.read(root, BUDDIES.path())
    units = {name: store.units for name, store in stores.items()}
    blocks = [block for a, b in left for block in blocks_of((a, b), units[a], units[b], buddies, images)]
    question = question_of(plan)
    notes = notes_of(plan, question, images)
    chunks = {name: store.chunk for name, store in stores.items()}
    with engine(setting.cluster, setting.threads, root) as where:
        groups, at_once = in_groups(blocks, images, chunks, question, setting.memory, where.capacity)
        parts = [part(examine_blocks, root, group, question) for group in groups]
        of_pair: dict[Pair, list[Delayed]] = {pair: [] for pair in left}
        for one, group in zip(parts, groups, strict=True):
            for pair in dict.fromkeys(block.pair for block in group):
                of_pair[pair].append(one)
        write = delayed(write_examined, pure=False)
        ends = [write(root, pair, plan.fingerprint(EXAMINED, *pair), notes, found) for pair, found in of_pair.items()]
        with track("examine", len(parts)) as advance:
            where.run(ends, advance, at_once)
        saw_images(images)


EXAMINE = Stage(
    "examine",
    (EXAMINED,),
    fingerprint_of,
    examine_pairs,
    per="run",
    when=lambda plan: "maps" not in plan.recipe.trust.leave_out,
    on_cluster=True,
)


def _is_examined(plan: Plan, pair: Pair) -> bool:
    return is_finished(plan.place(EXAMINED.path(*pair)), EXAMINED, plan.digest(EXAMINED, *pair))


def question_of(plan: Plan) -> Question:
    """What is asked of all pairs."""
    trust, named = plan.recipe.trust, ImageStore.read(plan.root).named_classes()
    classes = None if named is None else named.numbers
    return Question(trust.resamples, trust.resample == "classes", plan.recipe.images.seed, classes)


def notes_of(plan: Plan, question: Question, images: int) -> list[str]:
    """What a reader must know of how the matches of a run were examined."""
    notes = []
    if plan.streamed is not None:
        notes.append(f"measured on the {images} of {plan.streamed} images whose maps are stored")
    if not question.has_intervals:
        there = f"{question.class_count} classes are too few" if question.class_count else "the images have no classes"
        notes.append(f"no intervals: trust.resample draws classes, and {there}; draw images instead")
    many = 0 if question.classes is None else int((np.bincount(question.classes[question.classes >= 0]) >= 2).sum())
    if many > MOST_CLASSES:
        notes.append(f"within classes: of {many} classes, the {MOST_CLASSES} with the most images")
    return notes


def blocks_of(pair: Pair, a: Units, b: Units, buddies: pd.DataFrame, images: int) -> list[Block]:
    """The buddies of a pair by layer of B, then by layer of A, so that neighbours read the same maps."""
    found, size = buddies_of(buddies, *pair), min(max(_BLOCK[0], _BLOCK_IMAGES // images), _BLOCK[1])
    (layer_a, channel_a), (layer_b, channel_b) = (
        (units.layer_index()[unit], units.channels()[unit].astype(np.intp))
        for units, unit in ((a, found.unit_a), (b, found.unit_b))
    )
    # Of a model with itself a match is there from either side, and the maps say the same of both.
    same = pair[0] == pair[1]
    once = found.unit_a < found.unit_b if same else np.ones(len(found.unit_a), dtype=bool)
    mirror = _mirrored(found.unit_a, found.unit_b) if same else None
    blocks = []
    for key in np.unique(np.stack([layer_b, layer_a])[:, once], axis=1).T:
        rows = np.flatnonzero((layer_b == key[0]) & (layer_a == key[1]) & once)
        for start in range(0, len(rows), size):
            some = rows[start : start + size]
            layers = a.layers[key[1]], b.layers[key[0]]
            everywhere = (some,) if mirror is None else (some, mirror[some])
            blocks.append(Block(pair, layers, everywhere, (channel_a[some], channel_b[some])))
    return blocks


def _mirrored(unit_a: npt.NDArray[np.int32], unit_b: npt.NDArray[np.int32]) -> npt.NDArray[np.intp]:
    """(match,) where the same match stands the other way round."""
    one, other = (np.lexsort(units) for units in ((unit_b, unit_a), (unit_a, unit_b)))
    found = np.empty(len(one), np.intp)
    found[one] = other
    return found

"""Stage `images`: the latents of a generator, or the pixels of a folder, into `images.zarr`."""

from array import array
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from rosetta.errors import UserError
from rosetta.mining.draw import kept_of
from rosetta.mining.halves import Mask, drawn_halves
from rosetta.model_spec import ModelSpec
from rosetta.recipe import Compute, Images
from rosetta.view.numbers import counted
from rosetta.zoo import Model, load
from storage.artifacts import agreed
from storage.artifacts.blocks import MIB, block_count, block_size
from storage.artifacts.catalogue import IMAGES
from storage.artifacts.fingerprint import FORMAT, Fingerprint, fingerprint, first_difference
from storage.artifacts.halves import HALVES
from storage.artifacts.images import ImageStore
from storage.artifacts.layout import stored_attributes
from storage.artifacts.shared import place_of
from storage.artifacts.source_images import FileRecord, LeftOut, SourceStore
from storage.filesystem.root import Root
from tasks.dump.memory import fitted
from tasks.plan import Plan, Stage
from tasks.source.file_list import Files
from tasks.source.labels import labels_of
from tasks.source.pixels import BadImageError, Square, bad_images, what_of
from tasks.source.recognition import named, recognise, settings
from tasks.source.squares import read_square, read_squares
from tasks.source.streamed import Streamed
from tasks.stage.metrics import saw_images
from tasks.stage.progress import log, track
from tasks.stage.stage import Outcome

_DECODERS = 4
"""Files that are read and decoded side by side."""


def layout(compute: Compute) -> dict[str, object]:
    """What decides how the stores of images and activations are laid out."""
    return {"dtype": compute.dtype, "chunk_mib": compute.chunk_mib}


def fingerprint_of(plan: Plan) -> Fingerprint:
    """Of `images.zarr`. A source's is complete only once its files have been read, see :attr:`Plan.knows_images`."""
    images, maker = plan.recipe.images, plan.facts.maker
    if plan.facts.images is not None:
        return plan.facts.images
    if maker is None:
        return settings(images, plan.facts.streamed)
    streamed = {} if plan.streamed is None else {"streamed": plan.streamed}
    made = fingerprint(
        "images",
        maker.made_with,
        count=plan.image_count,
        seed=images.seed,
        generator=maker.depends,
        **streamed,
        **layout(plan.recipe.compute),
    )
    older = plan.facts.older_images
    if older is not None and not first_difference({**older, "format": FORMAT}, made.depends):
        return made
    return replace(made, depends={**made.depends, HALVES: images.seed})


def draw_images(plan: Plan) -> Outcome | None:
    """Lay `images.zarr` out: latents of a generator, or the pixels of a source.

    A generator's pixels come with its own dump, since an image goes through it only once.

    Raises
    ------
    UserError
        Files of the source are bad and `images.skip_bad` is not set; names them once all have been read.
    """
    if plan.facts.generator is not None:
        return _lay_latents_out(plan, plan.facts.generator)
    chunk_mib, streamed = plan.recipe.compute.chunk_mib, plan.facts.streamed
    return read_source(plan.root, plan.stored_images, plan.facts.files, chunk_mib, streamed)


DRAW_IMAGES = Stage("images", (IMAGES,), fingerprint_of, draw_images, protected=True)


def _lay_latents_out(plan: Plan, generator: ModelSpec) -> Outcome | None:
    root, images, compute = plan.root, plan.fingerprint(IMAGES), plan.recipe.compute
    if ImageStore.open(root, images) is not None:
        return "skipped"
    model = load(generator, plan.facts.device)
    count, seed = plan.image_count, plan.recipe.images.seed
    every = range(plan.streamed or count)
    indices = None if plan.streamed is None else kept_of(plan.streamed, count)
    kept = every if indices is None else indices
    classes = model.draw_classes(kept, seed)
    assert model.image_size is not None
    ImageStore.create(
        root,
        images,
        images=count,
        size=model.image_size,
        block=fitted(model.spec.name, model.units, count, compute).blocks.shard,
        latents=model.draw_latents(kept, seed),
        classes=classes,
        prompts=model.prompts(classes),
        seed=seed,
        indices=indices,
        halves=_halves_made(model, every, seed) if HALVES in images.depends else None,
    )
    return None


def _halves_made(model: Model, images: range, seed: int) -> Mask:
    """(image,) whether each image that a generator makes belongs to the first half."""
    return drawn_halves(map(str, images), seed, model.draw_classes(images, seed))


def read_source(
    root: Root, images: Images, files: Files, chunk_mib: int, streamed: Streamed | None = None
) -> Outcome | None:
    """Scale and crop the files of a source to squares and write them, in their order and without gaps.

    Parameters
    ----------
    files
        See :func:`tasks.source.recognition.in_order`; where others are streamed those that are kept.
    streamed
        All of them, where these are not all.
    """
    place = place_of(root, IMAGES.path())
    found = recognise(place, images, files, agreed.known(place.root, root), streamed)
    found.require_none_other()
    if found.fingerprint is not None and (stored_attributes(root, IMAGES.path()) or {}).get("complete"):
        return "skipped"
    room = images.count or len(files)
    block = block_size(images.side**2 * 3, chunk_mib * MIB, room)
    stored = stored_attributes(root, IMAGES.path())
    stated = settings(images, streamed, stored and stored["depends"])
    store = SourceStore.begin(root, stated, images=room, size=images.side, block=block)
    candidates = files if images.skip_bad else files[:room]
    with track("images", room) as advance, ThreadPoolExecutor(_DECODERS) as pool:
        reading = _Reading(store, candidates, images, pool)
        for number in range(block_count(room, block)):
            wanted_images = min(block, room - reading.images)
            if not reading.pass_over(number, wanted_images):
                good = reading.read(wanted_images)
                # What ends the run is known when all has been read, and is not to look like all of the images.
                if len(good) < wanted_images and reading.bad and not images.skip_bad:
                    break
                if good:
                    reading.keep(number, good)
            advance(wanted_images)
    what = what_of(candidates)
    if reading.bad and not images.skip_bad:
        errors = [BadImageError(one.record.source, one.reason) for one in reading.bad]
        raise bad_images(errors, len(candidates), what=what)
    if not reading.images:
        raise UserError(f"images.source: none of its {len(candidates):,} {what} can be read; give a folder of images")
    if reading.bad:
        left_out = named([f"{one.record.source} {one.reason}" for one in reading.bad])
        log.warning("images: left out %s: %s", counted(len(reading.bad), what[:-1], what), left_out)
    if images.count and reading.images < images.count:
        log.warning("images: %d instead of the %d that images.count asks for", reading.images, images.count)
    position = np.empty(len(files), np.int64)
    position[files.by_source()] = np.arange(len(files))
    mined = np.array(reading.taken, np.int64)
    taken = files.take(mined)
    labels = _labels(taken, images)
    halves = _halves(taken if streamed is None else streamed.files, images) if HALVES in stated.depends else None
    indices = None if streamed is None else kept_of(streamed.images, len(files))[mined]
    at = position[mined]
    store.finish_files(
        stated, reading.images, at, reading.bad, labels, labels_given=taken.have_labels, indices=indices, halves=halves
    )
    return None


def _halves(files: Files, images: Images) -> Mask:
    """(image,) whether each image of a run belongs to the first half."""
    return drawn_halves(files.names(), images.seed, labels_of(files, images))


def _labels(files: Files, images: Images) -> list[str] | None:
    """(image,) labels; says of how many none is known."""
    labels = labels_of(files, images)
    if labels and (unknown := [source for source, label in zip(files.names(), labels, strict=True) if not label]):
        log.warning("images: no label for %d of %d: %s", len(unknown), len(files), named(unknown))
    return labels


@dataclass
class _Reading:
    """Files on their way into a store, and how far they are."""

    store: SourceStore
    files: Files
    source: Images
    pool: Executor
    at: int = 0
    """The file that comes next."""
    taken: "array[int]" = field(default_factory=lambda: array("q"))
    """(image,) the file of each image that is in the store."""
    bad: list[LeftOut] = field(default_factory=list)

    def read(self, count: int) -> list[tuple[FileRecord, Square]]:
        """The next images; fewer where there are no more files."""
        good: list[tuple[FileRecord, Square]] = []
        while len(good) < count and self.at < len(self.files):
            batch = self.files[self.at : self.at + count - len(good)]
            for one in read_squares(batch, self.source, self.pool):
                if isinstance(one, LeftOut):
                    self.bad.append(one)
                else:
                    good.append(one)
                    self.taken.append(self.at)
                self.at += 1
        return good

    def keep(self, block: int, good: Sequence[tuple[FileRecord, Square]]) -> None:
        """Write a block."""
        records, squares = zip(*good, strict=True)
        pixels = np.stack([one.pixels for one in squares])
        self.store.keep(block, pixels, records, [one.crop for one in squares], [one.composited for one in squares])
        saw_images(len(good))

    def pass_over(self, block: int, count: int) -> bool:
        """Go on behind a block that is in already, if it holds just the images that come next, as they are now.

        Files between them must be bad still, and are read to say why.
        """
        records = [record for record in self.store.records(block) if record.source]
        places = self.files.find([record.source for record in records])
        if len(records) != count or any(after <= before for before, after in pairwise([self.at - 1, *places])):
            return False
        if any(self.files[at].stamp != one.stamp for at, one in zip(places, records, strict=True)):
            return False
        bad = []
        for at in sorted(set(range(self.at, places[-1])) - set(places)):
            if not isinstance(one := read_square(self.files[at], self.source), LeftOut):
                return False
            bad.append(one)
        self.bad += bad
        self.at = places[-1] + 1
        self.taken.extend(places)
        return True

    @property
    def images(self) -> int:
        """That are read."""
        return len(self.taken)

"""Stage `images`: the latents of a generator, or the pixels of a folder, into `images.zarr`."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from rosetta.recipe import Images, ModelSpec, Recipe
from rosetta.zoo import load
from storage.blocks import MIB, block_size, block_slice
from storage.fingerprint import Fingerprint
from storage.images import PATH, ImageStore
from storage.location import Root
from storage.shared import turn
from tasks.dump import model_block
from tasks.image_files import ImageFile
from tasks.image_pixels import Decoding, content_of, square
from tasks.meter import saw_images
from tasks.progress import track
from tasks.stage import Outcome, stage

DEFAULT_COUNT = 512
"""Images of a generator where the recipe does not say."""


def source_stamp(files: Sequence[ImageFile]) -> list[list[object]]:
    """Name and size of each file: what a run's fingerprint knows of a folder."""
    return [[file.source.rpartition("/")[2], file.size] for file in files]


@stage("images")
def draw_images(
    root: Root,
    wanted: Fingerprint,
    recipe: Recipe,
    generator: ModelSpec | None,
    files: Sequence[ImageFile],
    device: str,
) -> Outcome:
    """Lay `images.zarr` out: latents of a generator, or the pixels of a source.

    A generator's pixels come with its own dump, since an image goes through it only once.
    """
    with turn(root, PATH):
        return _draw(root, wanted, recipe, generator, files, device)


def _draw(
    root: Root,
    wanted: Fingerprint,
    recipe: Recipe,
    generator: ModelSpec | None,
    files: Sequence[ImageFile],
    device: str,
) -> Outcome:
    store = ImageStore.open(root, wanted)
    if generator is None:
        return _read_source(root, wanted, store, files, recipe.images, recipe.compute.chunk_mib)
    if store is not None:
        return "skipped"
    model = load(generator, device)
    count = recipe.images.count or DEFAULT_COUNT
    assert model.image_size is not None
    ImageStore.create(
        root,
        wanted,
        images=count,
        size=model.image_size,
        block=model_block(model.units, count, recipe.compute.dtype, recipe.compute.chunk_mib),
        latents=model.draw_latents(count, recipe.images.seed),
        classes=model.draw_classes(count, recipe.images.seed),
    )
    return "done"


def _read_source(
    root: Root,
    wanted: Fingerprint,
    store: ImageStore | None,
    files: Sequence[ImageFile],
    images: Images,
    chunk_mib: int,
) -> Outcome:
    """Scale and crop every file of a source to a square and write it."""
    if store is not None and store.complete:
        return "skipped"
    if store is None:
        size = images.size
        block = block_size(size * size * 3, chunk_mib * MIB, len(files))
        store = ImageStore.create(
            root,
            wanted,
            images=len(files),
            size=(size, size),
            block=block,
            latents=None,
            sources=[file.source for file in files],
        )

    def read(file: ImageFile) -> npt.NDArray[np.uint8]:
        return square(file, content_of(file), images.size, Decoding.of(images))

    missing = np.flatnonzero(~store.written())
    with track("images", len(files)) as advance, ThreadPoolExecutor(4) as pool:
        for block in map(int, missing):
            span = block_slice(block, store.block, len(files))
            squares = list(pool.map(read, files[span]))
            store.write(block, np.stack(squares))
            saw_images(len(squares))
            advance(len(squares))
    store.finish()
    return "done"

"""Stage `images`: the latents of a generator, or the pixels of a folder, into `images.zarr`."""

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import fsspec
import numpy as np
import numpy.typing as npt
from fsspec.core import url_to_fs
from PIL import Image, ImageOps, UnidentifiedImageError

from rosetta.errors import UserError
from rosetta.recipe import Images, ModelSpec, Recipe
from rosetta.zoo import load
from storage.blocks import MIB, block_size, block_slice
from storage.fingerprint import Fingerprint
from storage.images import PATH, ImageStore
from storage.location import Root
from storage.shared import turn
from tasks.dump import model_block
from tasks.meter import saw_images
from tasks.progress import track
from tasks.stage import Outcome, stage

DEFAULT_COUNT = 512
"""Images of a generator where the recipe does not say."""
_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm")


def list_source(images: Images) -> list[str]:
    """The image files of a source, sorted, as many as the recipe asks for.

    Raises
    ------
    UserError
        There are none, or fewer than `images.count`.
    """
    assert images.source is not None
    filesystem, path = url_to_fs(images.source)
    if filesystem.isdir(path):
        found = [file for file in filesystem.find(path) if file.lower().endswith(_SUFFIXES)]
        other = len(filesystem.find(path)) - len(found)
        remedy = f"it holds {other} other files" if other else "it is empty"
    else:
        found = [file for file in filesystem.glob(path) if filesystem.isfile(file)]
        remedy = "nothing matches it"
    files = sorted(str(filesystem.unstrip_protocol(file)) for file in found)
    if not files:
        raise UserError(
            f"images.source {images.source!r} has no images: {remedy}; give a folder or a glob of image files"
        )
    if images.count is not None and images.count > len(files):
        raise UserError(f"images.source has {len(files)} images but images.count asks for {images.count}; lower it")
    return files[: images.count]


def check_source(files: Sequence[str]) -> None:
    """Read every file's header.

    Raises
    ------
    UserError
        Names the first file that is no image, and how many there are.
    """
    with ThreadPoolExecutor(8) as pool:
        bad = [file for file, good in zip(files, pool.map(is_image, files), strict=True) if not good]
    if bad:
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        raise UserError(f"images.source: {_shown(bad[0])} is no image{more}; remove it or narrow the glob")


def source_stamp(files: Sequence[str]) -> list[list[object]]:
    """Name and size of each file: what a run's fingerprint knows of a folder."""
    filesystem = url_to_fs(files[0])[0]
    return [[file.rpartition("/")[2], int(filesystem.size(filesystem._strip_protocol(file)))] for file in files]


@stage("images")
def draw_images(
    root: Root,
    wanted: Fingerprint,
    recipe: Recipe,
    generator: ModelSpec | None,
    files: Sequence[str],
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
    files: Sequence[str],
    device: str,
) -> Outcome:
    store = ImageStore.open(root, wanted)
    if generator is None:
        return _read_source(root, wanted, store, files, recipe.images.size, recipe.compute.chunk_mib)
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
    root: Root, wanted: Fingerprint, store: ImageStore | None, files: Sequence[str], size: int, chunk_mib: int
) -> Outcome:
    """Scale and crop every file of a source to a square and write it."""
    if store is not None and store.complete:
        return "skipped"
    if store is None:
        block = block_size(size * size * 3, chunk_mib * MIB, len(files))
        store = ImageStore.create(
            root,
            wanted,
            images=len(files),
            size=(size, size),
            block=block,
            latents=None,
            sources=[file.rpartition("/")[2] for file in files],
        )
    missing = np.flatnonzero(~store.written())
    with track("images", len(files)) as advance, ThreadPoolExecutor(4) as pool:
        for block in map(int, missing):
            images = block_slice(block, store.block, len(files))
            squares = list(pool.map(lambda file: square(file, size), files[images]))
            store.write(block, np.stack(squares))
            saw_images(len(squares))
            advance(len(squares))
    store.finish()
    return "done"


def is_image(file: str) -> bool:
    try:
        with fsspec.open(file, "rb") as opened, Image.open(opened) as image:
            return image.width > 0
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False


def square(file: str, size: int) -> npt.NDArray[np.uint8]:
    """(size, size, rgb): the shorter side scaled to `size`, the middle of the longer."""
    try:
        with fsspec.open(file, "rb") as opened:
            content = opened.read()
        with Image.open(io.BytesIO(content)) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
        return np.asarray(ImageOps.fit(upright, (size, size), Image.Resampling.BICUBIC))
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"image {_shown(file)} is damaged ({error}); remove it or narrow the glob") from None


def _shown(file: str) -> str:
    return file.removeprefix("file://").removeprefix("local://")

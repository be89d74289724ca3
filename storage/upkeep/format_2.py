"""Stores of format 2, laid out again as those of this format with the same values.

All that is left of format 2 apart from reading it: markers and moments in the root of a store, activations as float16
in chunks of all channels, few names. Values stay what they are, to the last bit.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from rosetta.errors import UserError
from rosetta.mining.trust.pixels import FeatureMoments
from rosetta.mining.trust.profile import LayerProfile
from rosetta.units import Grid, Layer, Units
from rosetta.zoo.families.pixels import INDEPENDENT
from storage.artifacts import catalogue, layout
from storage.artifacts.activations import ActivationStore, LayerBlock, combine_moments
from storage.artifacts.artifact import BOOKKEEPING
from storage.artifacts.blocks import block_count, block_slice, few_files
from storage.artifacts.catalogue import Instance
from storage.artifacts.features import FeatureStore
from storage.artifacts.fingerprint import Fingerprint
from storage.artifacts.guided import GuidedStore
from storage.artifacts.images import ImageStore
from storage.artifacts.nearest import STORES
from storage.artifacts.profiles import ProfileStore
from storage.artifacts.shards import Shards, best_codec, encode
from storage.artifacts.source_images import LABELS, SourceStore, without_content
from storage.artifacts.store import ModelStore
from storage.filesystem.root import Root
from storage.upkeep.decoded import Decoded

Float32 = npt.NDArray[np.float32]

_ERROR = 2.0**-22 / 3
"""Mean square of the errors of rounding to float16, over the mean square of the values: evenly up to 2⁻¹¹ of each."""
_OF_FLOAT16: dict[str, Any] = {
    "quantization": "bitround",
    "quantization_nsb": 10,
    "comment": "Values are those of float16, in which format 2 kept them.",
}
_ESTIMATED = "Format 2 did not measure it. Estimated from mean and standard deviation, for values rounded to float16."
_AS_COMPUTED = "Format 2 kept this layer in float32; nothing was rounded."


@dataclass(frozen=True)
class Old:
    """A store of format 2, and what it takes to lay it out again."""

    instance: Instance
    group: zarr.Group
    fingerprint: Fingerprint
    """That of the new one."""
    labels: Mapping[str, npt.NDArray[Any]]
    """(image,) what is known of the images: `source`, `label`, `class`."""
    generator: str
    """The model that makes images; empty where none does."""

    @property
    def attributes(self) -> dict[str, Any]:
        """Of the root."""
        return layout.attributes_of(self.group)

    @property
    def complete(self) -> bool:
        """Whether it is finished."""
        return bool(self.attributes.get("complete"))

    def values(self, *path: str) -> npt.NDArray[Any]:
        """An array, whole."""
        return np.asarray(layout.array_of(self.group, *path)[...])

    def due(self) -> Iterator["Piece"]:
        """Everything that is known to be written, piece by piece: path, array, and where in it."""
        written, layers = layout.markers(self.group), layout.layers_of(self.attributes)
        for path, array in layout.arrays_in(self.group):
            for chunk in np.ndindex(layout.file_grid(array)):
                entry = self.instance.artifact.entry(path, chunk, layers)
                if self.complete or entry is None or (entry and written[entry]):
                    steps = zip(chunk, array.shards or array.chunks, array.shape, strict=True)
                    yield path, array, tuple(block_slice(at, size, length) for at, size, length in steps)


def new_path(old: Old, path: str) -> str:
    """Where an array of a store of format 2 lies now."""
    names = {
        "written": f"{BOOKKEEPING}/written",
        "moments": f"{BOOKKEEPING}/moments",
        "feature_mean": "pixel_features/mean",
        "feature_covariance": "pixel_features/covariance",
    }
    if old.instance.artifact is catalogue.FEATURES and "pixel_feature" not in old.group:
        names |= {"feature": "pixel_feature", "name": "feature"}
    return f"{BOOKKEEPING}/{path}" if path.startswith("candidates/") else names.get(path, path)


_BY_BLOCK = ("activation", "moments", "written")
"""Arrays of activation stores that :func:`_activations` writes itself."""
_OF_BLOCKS = ("moments", "written")
"""Those of them that say something of each block."""
_AHEAD = 4
"""Chunks, and layers of a block, that are read at once."""


def rewrite(old: Old, staging: Root) -> zarr.Group | None:
    """Write a store again under another root, not yet marked as finished.

    What is missing of an unfinished store stays missing.

    Returns
    -------
    zarr.Group or None
        None where there is nothing to keep: nothing is written in the store yet, or it is of so old a version that it
        is made again.

    Raises
    ------
    ValueError
        A checksum is wrong.
    UserError
        Values that are read back from the new store are not those of the old one.
    """
    group = _REWRITE[old.instance.artifact.pattern](old, staging)
    if group is None:
        return None
    for path, array in layout.arrays_in(old.group):
        if new_path(old, path) not in group:
            _create_like(group, new_path(old, path), array)  # of a version between two formats
    new = {path: layout.array_of(group, new_path(old, path)) for path, _ in layout.arrays_in(old.group)}
    by_block = _BY_BLOCK if old.instance.artifact is catalogue.ACTIVATIONS else ()
    due = list(old.due())
    if by_block and new["written"].shape != layout.written_of(old.group).shape:
        due = [piece for piece in due if piece[0] not in _OF_BLOCKS]  # blocks are larger now
    before, after = defaultdict[str, Decoded](Decoded), defaultdict[str, Decoded](Decoded)
    for path, where, values in _read(due):
        before[path].add(values)
        if path.rpartition("/")[2] not in by_block:
            new[path][where] = values
    for path, _, values in _read((path, new[path], where) for path, _, where in due):
        after[path].add(values)
    for path, digest in before.items():
        if digest.hexadecimal != after[path].hexadecimal:
            raise UserError(
                f"{old.instance.path}: {path} reads back with other values than before, so the store stays as it was;"
                " run the same command again"
            )
    return group


Piece = tuple[str, zarr.Array, tuple[slice, ...]]
"""Path of an array, the array, and where in it."""


def _read(pieces: Iterable[Piece]) -> Iterator[tuple[str, tuple[slice, ...], npt.NDArray[Any]]]:
    """Values of each piece, in their order; some are read ahead, as each waits for its disk or its object store."""
    with ThreadPoolExecutor(_AHEAD) as pool:
        waiting: deque[tuple[str, tuple[slice, ...], Future[npt.NDArray[Any]]]] = deque()
        for path, array, where in pieces:
            waiting.append((path, where, pool.submit(lambda array, where: np.asarray(array[where]), array, where)))
            if len(waiting) == _AHEAD:
                path, where, values = waiting.popleft()
                yield path, where, values.result()
        for path, where, values in waiting:
            yield path, where, values.result()


def _create_like(group: zarr.Group, path: str, array: zarr.Array) -> None:
    names = getattr(array.metadata, "dimension_names", None) or [f"axis_{axis}" for axis in range(array.ndim)]
    axes: layout.Axes = dict(zip(names, zip(array.shape, array.chunks, strict=True), strict=True))
    dtype = str if array.dtype.kind in "OUT" else array.dtype
    layout.create_array(group, path, dtype, axes, path.rpartition("/")[2], fill=array.fill_value,
                        attributes=array.attrs.asdict())  # fmt: skip


def _images(old: Old, staging: Root) -> zarr.Group:
    count, *size, _ = layout.array_of(old.group, "pixels").shape
    block = int(old.attributes["block"])
    if "stamp" in old.group:
        settings = Fingerprint(without_content(old.fingerprint.depends))
        group = SourceStore.begin(staging, settings, images=count, size=size[0], block=block).group
    else:
        of_images = {name: old.values(name) if name in old.group else None for name in ("latent", "class")}
        group = ImageStore.create(
            staging,
            old.fingerprint,
            images=count,
            size=(size[0], size[1]),
            block=block,
            latents=of_images["latent"],
            classes=of_images["class"],
            seed=old.fingerprint.depends.get("seed") if "latent" in old.group else None,
        ).group
        if "latent" in old.group and "source" in group:
            layout.array_of(group, "source")[:] = ImageStore(group).coordinates()["source"]
    for name in ("crop", "composited", "edge"):  # which format 2 did not keep
        if name in group and name not in old.group:
            del group[name]
    if "image" not in group:
        layout.create_index(group, "image", count, "index of the image")
    for name, about in {"source": "source of the image", **LABELS}.items():
        if name in old.group and name not in group:
            layout.create_labels(group, name, old.values(name), "image", about)
    known = " ".join(name for name in ("source", "place", "label") if name in group)
    if known:
        layout.array_of(group, "pixels").attrs["coordinates"] = known
    return group


def _features(old: Old, staging: Root) -> zarr.Group:
    names = old.values("feature" if "pixel_feature" in old.group else "name")
    images, _, side = FeatureStore(old.group).shape
    return FeatureStore.create(staging, old.fingerprint, tuple(map(str, names)), side, images).group


def _correlations(old: Old, staging: Root) -> zarr.Group:
    a, b = old.instance.names
    kind, k = STORES[str(old.attributes["keep"])], 0
    if "neighbours_ab" in old.group:
        k = layout.array_of(old.group, "neighbours_ab").shape[1]
    units = [_labelled(old.values(f"layer_{side}")) for side in "ab"]
    group = kind.create(staging, a, b, old.fingerprint, units[0], units[1], k).group
    candidates = "candidates"
    if candidates in layout.bookkeeping(group) and candidates not in (*old.group, *layout.bookkeeping(old.group)):
        del layout.bookkeeping(group)[candidates]  # the nearest have been chosen from them
    return group


def _labelled(layers: npt.NDArray[Any]) -> Units:
    """Units by the layer of each, as far as the labels of a pair need them."""
    return Units(tuple(Layer(str(name), len(list(units)), (1, 1)) for name, units in groupby(layers)))


def _profile(old: Old, staging: Root) -> zarr.Group | None:
    store = ProfileStore(old.group)
    if "feature_mean" in old.group and layout.array_of(old.group, "feature_mean").shape[1:] != (len(INDEPENDENT),):
        return None
    commons: list[Grid] = [(int(height), int(width)) for height, width in old.attributes["commons"]]
    features: dict[Grid, FeatureMoments] = {grid: store.features_on(grid) for grid in commons}
    (model,) = old.instance.names
    new = ProfileStore.create(staging, model, old.fingerprint, store.units, store.images, INDEPENDENT, features)
    for number, layer in enumerate(store.units.layers):
        if store.written()[number]:
            arrays = {name: store.of_layer(layer.name, name) for name in LayerProfile.__dataclass_fields__}
            new.write(number, LayerProfile(**arrays), store.commons(layer.name), store.of_layer(layer.name, "dead"))
    return new.group


def _search(old: Old, staging: Root) -> zarr.Group:
    store = GuidedStore(old.group)
    frames, latent = (layout.array_of(old.group, name) for name in ("frames", "latent"))
    names: tuple[str, ...] = latent.metadata.dimension_names  # type: ignore[union-attr, assignment]
    where = old.instance.path.rpartition("/")[0]
    return GuidedStore.create(
        staging,
        where,
        old.fingerprint,
        model=str(old.attributes.get("model", old.generator)),
        guidance=store.guidance,
        sources=store.sources,
        targets=store.targets(),
        classes=store.classes(),
        size=(frames.shape[3], frames.shape[4]),
        latent=dict(zip(names[2:], latent.shape[2:], strict=True)),
        frame_steps=store.frame_steps,
        steps=layout.array_of(old.group, "loss").shape[2] - 1,
        terms=store.terms,
        batch=store.block,
    ).group


def _activations(old: Old, staging: Root) -> zarr.Group | None:
    """Each block becomes a chunk; of a finished store with very many, a shard holds several."""
    store, written = ModelStore(old.group), layout.markers(old.group)
    if not written.any():
        return None
    units, block, images = store.units, store.block, store.images
    shard = few_files(units, images, block) if old.complete else block
    first = block_slice(int(written.argmax()), block, images)
    codecs = {}
    for layer in units.layers:
        chunks = Shards(layer.channels, layer.grid, block, 1).split(_maps(old, layer.name, first))
        codecs[layer.name] = best_codec(chunks[len(chunks) // 2])
    laid_out = {"fingerprint", "depends", "complete", "layers", "frames", "block", "images"}
    new = ActivationStore.create(
        staging,
        old.instance.names[0],
        old.fingerprint,
        units=units,
        images=images,
        block=shard,
        chunk=block,
        codecs=codecs,
        labels=old.labels,
        attributes={key: value for key, value in old.attributes.items() if key not in laid_out},
        rounded=False,
    )
    with ThreadPoolExecutor() as pool, ThreadPoolExecutor(_AHEAD) as readers:
        for number in range(block_count(images, shard)):
            span = block_slice(number, shard, images)
            if written[span.start // block : block_count(span.stop, block)].all():
                encoded = readers.map(partial(_layer_block, old, new, span, pool), units.spans())
                new.write(number, {layer.name: part for layer, part in zip(units.layers, encoded, strict=True)})
    for layer in units.layers:
        _describe_rounding(old, new, layer)
    return new.group


def _maps(old: Old, layer: str, images: slice) -> Float32:
    return np.asarray(layout.array_of(old.group, layer, "activation")[images]).astype(np.float32, copy=False)


def _layer_block(
    old: Old, new: ActivationStore, images: slice, pool: Executor, of_layer: tuple[Layer, slice]
) -> LayerBlock:
    layer, units = of_layer
    shards, codec = Shards(layer.channels, layer.grid, new.chunk, new.block // new.chunk), new.codecs[layer.name]
    spans = [slice(start, min(start + new.chunk, images.stop)) for start in range(images.start, images.stop, new.chunk)]
    rows = [
        list(pool.map(lambda chunk: encode(chunk, codec), shards.split(_maps(old, layer.name, span)))) for span in spans
    ]
    first = images.start // new.chunk
    moments = np.asarray(layout.array_of(old.group, "moments")[first : first + len(spans), :, units])
    counts, positions = np.array([span.stop - span.start for span in spans]), layer.grid[0] * layer.grid[1]
    mean, square = moments[0]
    if len(spans) > 1:
        mean, variance = combine_moments(counts, moments[:, 0], moments[:, 1], positions)
        square = variance * (counts.sum() * positions)
    peak = np.asarray(layout.array_of(old.group, layer.name, "peak")[images])
    noise = _ERROR * (mean**2 * (counts.sum() * positions) + square) * _is_rounded(old, layer)
    return LayerBlock(rows, peak, mean, square, noise)


def _is_rounded(old: Old, layer: Layer) -> bool:
    return layout.array_of(old.group, layer.name, "activation").dtype == np.float16


def _describe_rounding(old: Old, new: ActivationStore, layer: Layer) -> None:
    """Say what is known of the rounding of a layer, and of a finished store how large it is."""
    rounded = _is_rounded(old, layer)
    rounding = layout.array_of(new.group, layer.name, "rounding")
    rounding.attrs["comment"] = _ESTIMATED if rounded else _AS_COMPUTED
    if rounded:
        layout.array_of(new.group, layer.name, "activation").update_attributes(_OF_FLOAT16)
    if old.complete:
        mean, std = (old.values(layer.name, name) for name in ("mean", "std"))
        noise = np.sqrt(_ERROR * (mean**2 + std**2)) * rounded
        rounding[:] = np.divide(noise, std, out=np.zeros_like(std), where=std > 0)


_REWRITE: Mapping[str, Callable[[Old, Root], zarr.Group | None]] = {
    catalogue.IMAGES.pattern: _images,
    catalogue.ACTIVATIONS.pattern: _activations,
    catalogue.FEATURES.pattern: _features,
    catalogue.CORRELATIONS.pattern: _correlations,
    catalogue.PROFILES.pattern: _profile,
    catalogue.INVERSION_RESULTS.pattern: _search,
    catalogue.EDIT_RESULTS.pattern: _search,
}
"""By pattern of an artifact: how its store is laid out again."""

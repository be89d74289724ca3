"""How this project lays out Zarr: format 3, names and units as CF and ACDD have them, zstd and crc32c, and when a store
counts as complete."""

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from rosetta.errors import UserError
from storage.artifacts.artifact import BOOKKEEPING, Chunk
from storage.artifacts.attributes import decode, encode
from storage.artifacts.catalogue import instance_at
from storage.artifacts.fingerprint import Fingerprint, require_known_format
from storage.artifacts.provenance import recipe_digest
from storage.artifacts.seals import break_seal
from storage.artifacts.shared import Place, place_of
from storage.filesystem.root import Root

# By default a chunk of nothing but zeros is not written, and then no one can tell it from a chunk that got lost.
zarr.config.set({"array.write_empty_chunks": True})

_LEVEL = -1
"""The low bits of activations are noise to a compressor. Level -1 still takes out runs of zeros, at gigabytes a second;
level 1 makes stores of float16 maps 8 % smaller and reads and writes them several times slower."""

BIT_SHUFFLED = BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle", typesize=4)
"""For rounded float32: bits that are zero in all values become runs once they are transposed bit by bit."""
ROUNDED: Mapping[str, Any] = {
    "compressors": (BIT_SHUFFLED, Crc32cCodec()),
    "attributes": {"comment": "values are rounded to those of float16"},
}
"""Options of :func:`create_array` for float32 values that are rounded to those of float16. Plain xarray would sum
float16 in float16, where sums overflow."""

CONVENTIONS = "CF-1.12 ACDD-1.3"
_METADATA = "zarr.json"

Axes = Mapping[str, int | tuple[int, int]]
"""By dimension of an array: its length, and the length of a chunk where it is cut."""


def create_array(
    group: zarr.Group,
    name: str,
    dtype: Any,
    axes: Axes,
    long_name: str,
    *,
    units: str = "1",
    description: str = "",
    fill: Any = 0,
    coordinates: str | None = None,
    **options: Any,
) -> zarr.Array:
    """Create an array that says what it holds, with this project's codecs.

    Parameters
    ----------
    long_name
        What plots and tables call it.
    units
        As CF and UDUNITS write them; "1" of numbers without a unit, and of text.
    description
        A sentence more, where the name does not say all.
    coordinates
        Names, separated by blanks, of the other arrays that xarray takes for coordinates.
    options
        Other options of :meth:`zarr.Group.create_array`, which take the place of those from here.
    """
    sizes = [size if isinstance(size, tuple) else (size, size) for size in axes.values()]
    about = {"long_name": long_name, "units": units, "description": description, "coordinates": coordinates}
    return group.create_array(
        name,
        shape=tuple(length for length, _ in sizes),
        dtype=dtype,
        fill_value=fill,
        dimension_names=tuple(axes),
        **{
            "chunks": tuple(max(1, chunk) for _, chunk in sizes),
            "compressors": (ZstdCodec(level=_LEVEL), Crc32cCodec()),
            **options,
            "attributes": {key: value for key, value in about.items() if value} | options.get("attributes", {}),
        },
    )


def create_written(group: zarr.Group, **counts: int) -> None:
    """Create the markers of a store, one to a chunk, with their number along each dimension."""
    axes: Axes = {name: (count, 1) for name, count in counts.items()}
    create_array(
        group.require_group(BOOKKEEPING), "written", "bool", axes, "whether the part has been written", fill=False
    )


def create_labels(
    group: zarr.Group,
    name: str,
    values: Sequence[str] | np.ndarray[Any, Any],
    dimension: str,
    long_name: str,
    **options: Any,
) -> None:
    """Create a one-dimensional array of labels in one chunk; text where the values are text.

    Parameters
    ----------
    options
        As :func:`create_array` takes them.
    """
    array = np.asarray(values)
    text = array.dtype.kind in "OUT"
    axes: Axes = {dimension: len(array)}
    created = create_array(
        group, name, str if text else array.dtype, axes, long_name, fill="" if text else 0, **options
    )
    created[:] = array.astype(object) if text else array


def create_index(
    group: zarr.Group, name: str, count: int, long_name: str, *, first: int = 0, description: str = ""
) -> None:
    """Create the index of a dimension of the same name: whole numbers from `first` on."""
    values = np.arange(first, first + count, dtype=np.int32)
    create_labels(group, name, values, name, long_name, description=description)


def centres(size: int) -> npt.NDArray[np.float64]:
    """(position,) the centres of a grid's positions along one axis, in fractions of the image."""
    return (np.arange(size) + 0.5) / size


def create_centres(group: zarr.Group, grid: tuple[int, int]) -> None:
    """Create the coordinates `y` and `x` of a grid that covers the image."""
    for axis, size, side in zip("yx", grid, ("top", "left"), strict=True):
        what = f"centre of the position from the {side}, in fractions of the image"
        create_labels(group, axis, centres(size), axis, what)


def create_values(
    group: zarr.Group, name: str, values: npt.NDArray[Any], dimensions: Sequence[str], long_name: str, **options: Any
) -> None:
    """Create an array in one chunk and write it; `options` as :func:`create_array` takes them."""
    axes: Axes = dict(zip(dimensions, values.shape, strict=True))
    create_array(group, name, values.dtype, axes, long_name, **options)[...] = values


def array_of(group: zarr.Group, *path: str) -> zarr.Array:
    """An array of a group, by the names that lead to it."""
    array = group["/".join(path)]
    assert isinstance(array, zarr.Array)
    return array


def arrays_in(group: zarr.Group) -> Iterator[tuple[str, zarr.Array]]:
    """All arrays of a store, by path."""
    return ((name, member) for name, member in group.members(max_depth=None) if isinstance(member, zarr.Array))


def attributes_of(group: zarr.Group) -> dict[str, Any]:
    """The attributes of a group, what is nested as plain data."""
    return decode(group.attrs.asdict())


def layers_of(attributes: Mapping[str, Any]) -> list[str]:
    """Names of the layers of a store of a model, in order; none of any other store.

    Parameters
    ----------
    attributes
        Of its root, as :func:`attributes_of` gives them.
    """
    return [str(row[0]) for row in attributes.get("layers", [])]


def file_grid(array: zarr.Array) -> tuple[int, ...]:
    """How many files an array has along each axis: its shards, or its chunks where it has none."""
    return tuple(-(-length // size) for length, size in zip(array.shape, array.shards or array.chunks, strict=True))


def chunk_file(array_path: str, array: zarr.Array, chunk: Chunk) -> str:
    """The path of a chunk, given that of its array."""
    return f"{array_path}/{array.metadata.encode_chunk_key(chunk)}"


def bookkeeping(group: zarr.Group) -> zarr.Group:
    """The group of what says nothing to a reader: markers, and what a run that was cut short resumes from."""
    found = group.get(BOOKKEEPING)
    return found if isinstance(found, zarr.Group) else group  # stores of format 2 keep it in their root


def written_of(group: zarr.Group) -> zarr.Array:
    """The markers of a store, to change."""
    return array_of(bookkeeping(group), "written")


def markers(group: zarr.Group) -> npt.NDArray[np.bool_]:
    """(…,) which parts of a store are complete. Where a marker cannot be read, its part counts as missing."""
    array = written_of(group)
    try:
        return np.asarray(array[...])
    except ValueError:  # its checksum
        found = np.zeros(array.shape, dtype=np.bool_)
        for entry in np.ndindex(array.shape):
            with suppress(ValueError):
                found[entry] = array[entry]
        return found


def create_store(root: Root, path: str) -> zarr.Group:
    """A new empty store of a run; it replaces one that may be there."""
    place, instance = place_of(root, path), instance_at(path)
    break_seal(place.root, place.path)
    attributes = {"Conventions": CONVENTIONS, "title": path.removesuffix(".zarr")}
    if instance is not None:
        attributes["summary"] = instance.artifact.about.replace("`", "")
    if digest := recipe_digest(root):
        attributes["recipe_sha256"] = digest
    return zarr.create_group(place.root.store(place.path), overwrite=True, attributes=attributes)


def open_to_write(place: Place) -> zarr.Group:
    """The group of a store in its place, to change."""
    return zarr.open_group(place.root.store(place.path), mode="r+", use_consolidated=False)


def open_to_read(place: Place) -> zarr.Group:
    """The group of a store in its place, finished or not."""
    return zarr.open_group(place.root.store(place.path, read_only=True), mode="r", use_consolidated=False)


def open_existing(root: Root, path: str) -> zarr.Group | None:
    """The group of a store that has been laid out, to resume; None where there is none.

    A store whose layout was cut short has no fingerprint yet and holds no data: it is removed.
    """
    place = place_of(root, path)
    if place.root.exists(f"{place.path}/zarr.json"):
        group = open_to_write(place)
        require_known_format(attributes_of(group), place.path)
        if "fingerprint" in group.attrs:
            return group
    place.root.remove(place.path)
    return None


def stored_attributes(root: Root, path: str) -> dict[str, Any] | None:
    """The attributes of a store of a run that has been laid out, or None; changes nothing.

    Raises
    ------
    UserError
        Its metadata is damaged.
    """
    return attributes_at(place_of(root, path))


def attributes_at(place: Place) -> dict[str, Any] | None:
    """The same of a store in its place."""
    if not place.root.exists(f"{place.path}/zarr.json"):
        return None
    try:
        attributes = attributes_of(open_to_read(place))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{place.path} is damaged ({error}); remove it and it is rebuilt") from None
    require_known_format(attributes, place.path)
    return attributes if "fingerprint" in attributes else None


def open_complete(root: Root, path: str) -> zarr.Group:
    """The group of a finished store of a run, to read.

    Raises
    ------
    FileNotFoundError
        There is none, or it is not finished.
    """
    return open_at(place_of(root, path))


def open_at(place: Place) -> zarr.Group:
    """The group of a finished store in its place.

    Raises
    ------
    FileNotFoundError
        There is none, or it is not finished.
    """
    if place.root.exists(f"{place.path}/zarr.json"):
        group = zarr.open_group(place.root.store(place.path, read_only=True), mode="r")
        require_known_format(attributes_of(group), place.path)
        if group.attrs.get("complete"):
            return group
    raise FileNotFoundError(f"{place.path} under {place.root.shown} is missing or not finished")


def seal_layout(group: zarr.Group, fingerprint: Fingerprint, attributes: Mapping[str, Any]) -> None:
    """Mark that all arrays are laid out, and record what the store is made from; data may be written now."""
    # All at once: attributes set one by one would be written one by one.
    group.update_attributes(encode({**attributes, **fingerprint.attributes(), "complete": False}))


def complete(group: zarr.Group) -> None:
    """Mark that all data is written, and gather the metadata so that the store opens with one read."""
    group.update_attributes(encode({"complete": True}))
    with warnings.catch_warnings():
        # Readers that do not know gathered metadata read the ungathered, which is there as well.
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        zarr.consolidate_metadata(group.store)
    _put_in_order(group)


def _put_in_order(group: zarr.Group) -> None:
    """Order the gathered metadata as the model runs: its layers one after the other, then the bookkeeping.

    Zarr sorts them by name. Readers, xarray among them, take the members of a group as they come there.
    """
    store, prototype = group.store, default_buffer_prototype()
    content = sync(store.get(_METADATA, prototype))
    assert content is not None
    metadata = json.loads(content.to_bytes())
    names = [*layers_of(attributes_of(group)), BOOKKEEPING]
    order = {name: position for position, name in enumerate(names)}
    gathered = metadata["consolidated_metadata"]["metadata"]
    by_layer = sorted(gathered, key=lambda path: order.get(path.partition("/")[0], -1))
    metadata["consolidated_metadata"]["metadata"] = {path: gathered[path] for path in by_layer}
    sync(store.set(_METADATA, prototype.buffer.from_bytes(json.dumps(metadata, indent=2).encode())))

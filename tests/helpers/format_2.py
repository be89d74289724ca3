"""A small root as format 2 laid it out: images of a generator, one model's maps, their correlations and a table."""

import io
import json
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from storage.artifacts import layout, tables
from storage.artifacts.activations import ActivationStore
from storage.artifacts.columns import BUDDIES
from storage.artifacts.correlations import CorrelationStore
from storage.artifacts.fingerprint import FORMAT, Fingerprint
from storage.artifacts.images import ImageStore
from storage.filesystem.root import Root
from storage.upkeep.check import check_root

COUNT, BLOCK = 10, 4
LAYERS = {"low": (3, (4, 4)), "deep/high": (20, (2, 3))}
"""By layer: channels and grid. The second is kept in float32."""
RECIPE = """name = "old"
root = "old"
[images]
count = 10
[[models]]
name = "g"
model = "python:tests:g"
[[models]]
name = "d"
model = "python:tests:d"
"""


def fingerprint(stage: str, **depends: object) -> Fingerprint:
    return Fingerprint({"stage": stage, "format": 2, **depends}, {"torch": "2"})


IMAGES = fingerprint("images", count=COUNT, seed=7)
MAPS = fingerprint("activations", images=IMAGES.digest, model={"model": "python:tests:g"})
PAIR = fingerprint("correlations", activations=[MAPS.digest, MAPS.digest])
TABLE = fingerprint("buddies", correlations={"g~g": PAIR.digest})


def maps() -> dict[str, np.ndarray]:
    """By layer (image, channel, y, x) as they are stored."""
    random = np.random.default_rng(3)
    found = {
        name: random.normal(3, 1, (COUNT, channels, *grid)).astype(np.float32 if "/" in name else np.float16)
        for name, (channels, grid) in LAYERS.items()
    }
    found["low"][:, 1] = 2.5
    found["low"][0, 0, 0, 0] = -0.0
    return found


def write(root: Root, missing: tuple[int, ...] = ()) -> None:
    """The root; its activations lack some blocks if any are named, and what follows from them is not there."""
    root.write_bytes("recipe.toml", RECIPE.encode())
    images = _store(root, "images.zarr")
    pixels = np.random.default_rng(1).integers(0, 255, (COUNT, 4, 4, 3), dtype=np.uint8)
    array(images, "pixels", pixels, "image y x rgb", BLOCK)
    array(images, "latent", np.random.default_rng(2).normal(size=(COUNT, 5)).astype(np.float32), "image z")
    array(images, "written", np.ones(3, bool), "block", 1)
    seal(images, IMAGES, {"block": BLOCK}, complete=not missing)
    _activations(root, missing)
    if missing:
        return
    pair = _store(root, "correlations/g~g.zarr")
    labels = [(layer, channel) for layer, (channels, _) in LAYERS.items() for channel in range(channels)]
    for side in "ab":
        array(pair, f"layer_{side}", np.array([layer for layer, _ in labels], object), f"unit_{side}")
        array(pair, f"channel_{side}", np.array([channel for _, channel in labels], np.int32), f"unit_{side}")
    array(pair, "pearson", np.random.default_rng(4).random((23, 23), dtype=np.float32), "unit_a unit_b")
    array(pair, "written", np.ones((1, 1), bool), "panel_a panel_b", 1)
    about = {"model_a": "g", "model_b": "g", "keep": "matrix", "units_a": 23, "units_b": 23}
    seal(pair, PAIR, about, complete=True)
    root.write_bytes("tables/buddies.parquet", table())
    fingerprints = {"images.zarr": IMAGES.digest, "activations/g.zarr": MAPS.digest}
    root.write_bytes("provenance.json", json.dumps({"format": 2, "runs": [], "fingerprints": fingerprints}).encode())


def table() -> bytes:
    """Two buddies."""
    values = {"category": "g", "int32": 1, "float32": 0.5}
    columns = {column.name: [values[column.dtype]] * 2 for column in BUDDIES}
    frame = pd.DataFrame(columns).astype({c.name: c.dtype for c in BUDDIES if c.dtype != "category"})
    made = pa.Table.from_pandas(frame, preserve_index=False)
    about = {**made.schema.metadata, b"rosetta": json.dumps({**TABLE.attributes(), "notes": ["a note"]}).encode()}
    buffer = io.BytesIO()
    pq.write_table(made.replace_schema_metadata(about), buffer)
    return buffer.getvalue()


def _activations(root: Root, missing: tuple[int, ...]) -> None:
    group, written = _store(root, "activations/g.zarr"), np.ones(3, bool)
    written[list(missing)] = False
    moments = np.zeros((3, 2, sum(channels for channels, _ in LAYERS.values())))
    first = 0
    for name, values in maps().items():
        channels, units = values.shape[1], slice(first, first + values.shape[1])
        held = values.copy()
        for block in range(3):
            span = slice(block * BLOCK, (block + 1) * BLOCK)
            flat = values[span].astype(np.float64).transpose(1, 0, 2, 3).reshape(channels, -1)
            moments[block, 0, units] = flat.mean(axis=1)
            moments[block, 1, units] = ((flat - flat.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
            if block in missing:
                held[span] = 7  # of a dump that was cut off, and counts for nothing
        every = held.astype(np.float64).transpose(1, 0, 2, 3).reshape(channels, -1)
        layer = group.create_group(name)
        array(layer, "activation", held, "image channel y x", BLOCK)
        array(layer, "peak", held.max(axis=(2, 3)).astype(np.float32), "image channel", BLOCK)
        empty = np.full(channels, np.nan)
        array(layer, "mean", empty if missing else every.mean(axis=1), "channel")
        array(layer, "std", empty if missing else every.std(axis=1), "channel")
        array(layer, "unit", np.arange(units.start, units.stop, dtype=np.int32), "channel")
        first = units.stop
    array(group, "moments", moments, "block moment unit", 1)
    array(group, "written", written, "block", 1)
    about = {
        "name": "g", "model": "python:tests:g", "weights_sha256": "0", "generator": True, "preprocessing": None,
        "layers": [[name, channels, *grid] for name, (channels, grid) in LAYERS.items()], "frames": {},
        "block": BLOCK, "images": COUNT,
    }  # fmt: skip
    seal(group, MAPS, about, complete=not missing)


def _store(root: Root, path: str) -> zarr.Group:
    return zarr.create_group(root.store(path))


def array(group: zarr.Group, name: str, values: np.ndarray, dimensions: str, chunk: int | None = None) -> None:
    names = dimensions.split()
    chunks = values.shape if chunk is None else (chunk, *values.shape[1:])
    text = values.dtype == object
    group.create_array(
        name, shape=values.shape, dtype=str if text else values.dtype, chunks=chunks, dimension_names=names,
        fill_value="" if text else 0, compressors=(ZstdCodec(level=-1), Crc32cCodec()),
    )[...] = values  # fmt: skip


def seal(group: zarr.Group, made: Fingerprint, about: Mapping[str, object], *, complete: bool) -> None:
    group.update_attributes({**about, **made.attributes(), "complete": complete})
    if complete:
        zarr.consolidate_metadata(group.store)


def renewed(made: Fingerprint, **depends: object) -> Fingerprint:
    return Fingerprint({**made.depends, **depends, "format": FORMAT}, made.made_with)


IMAGES_NOW = renewed(IMAGES)
MAPS_NOW = renewed(MAPS, images=IMAGES_NOW.digest)
PAIR_NOW = renewed(PAIR, activations=[MAPS_NOW.digest, MAPS_NOW.digest])
TABLE_NOW = renewed(TABLE, correlations={"g~g": PAIR_NOW.digest})


def require_upgraded(root: Root) -> None:
    """Every value is what it was, and every fingerprint what it would be today."""
    images, pair = ImageStore.read(root), CorrelationStore(layout.open_complete(root, "correlations/g~g.zarr"))
    assert [store.digest for store in (images, pair)] == [IMAGES_NOW.digest, PAIR_NOW.digest]
    np.testing.assert_array_equal(
        images.pixels(slice(None)), np.random.default_rng(1).integers(0, 255, (10, 4, 4, 3), dtype=np.uint8)
    )
    np.testing.assert_array_equal(pair.pearson(), np.random.default_rng(4).random((23, 23), dtype=np.float32))
    require_maps(root)
    frame = tables.read(root, "tables/buddies.parquet")
    pd.testing.assert_frame_equal(frame, pd.read_parquet(io.BytesIO(table())), check_dtype=False)
    attributes = tables.attributes(root, "tables/buddies.parquet")
    assert attributes["fingerprint"] == TABLE_NOW.digest
    assert attributes["notes"] == ["a note"]
    assert [one for one in check_root(root) if one.kind != "missing"] == []
    assert root.list("upgrade") == []


def require_maps(root: Root) -> ActivationStore:
    store = ActivationStore.read(root, "g")
    assert store.digest == MAPS_NOW.digest
    assert store.attributes["made_with"] == {"torch": "2"}
    for layer, values in maps().items():
        read = store.maps(layer, slice(None))
        assert read.dtype == np.float32
        # Bit by bit: zeros keep their sign.
        assert read.tobytes() == values.astype(np.float32).tobytes()
        np.testing.assert_array_equal(store.peaks(layer), values.max(axis=(2, 3)))
        every = values.astype(np.float64).transpose(1, 0, 2, 3).reshape(values.shape[1], -1)
        np.testing.assert_array_equal(store.of_layer(layer, "mean"), every.mean(axis=1))
        np.testing.assert_array_equal(store.of_layer(layer, "std"), every.std(axis=1))
    return store

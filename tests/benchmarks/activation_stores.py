"""Activation stores for who asks and for who mines: bytes and seconds of a unit and of a block, files, and opening.

The maps are those of a ViT-B, 3,072 channels on 14 × 14 of a run of 50,000 images, in two of its twelve layers; the
layout of format 2, float16 in one chunk a block, lies beside them.
"""

import multiprocessing
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import xarray as xr
import zarr
from faces import folder_bytes, mine
from figures import BENCH, clear, figure, in_turn, report, timed
from synthetic import write
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.storage import LocalStore

from rosetta.units import Layer, Units
from storage.artifacts.activations import ActivationStore, file_count
from storage.artifacts.blocks import model_blocks
from storage.artifacts.fingerprint import fingerprint
from storage.artifacts.store import ModelStore
from storage.filesystem.root import Root
from storage.filesystem.traffic import CountedStore, Traffic, counted

MANY = 50_000
VIT_B = Units(tuple(Layer(f"blocks.{number}.mlp.act", 3072, (14, 14)) for number in range(12)))
DEEP = Units(tuple(Layer(f"blocks.{number}", 1024, (16, 16)) for number in range(24)))
IMAGES = 256
REPEATS = 5
UNIT = 1234
LAYER = VIT_B.layers[0].name
PORT = 5987


def old_layout(store: ActivationStore) -> zarr.Array:
    """The maps of one layer as format 2 has them."""
    array = zarr.create_array(
        str(BENCH / "stores" / "old.zarr"),
        shape=(IMAGES, 3072, 14, 14),
        chunks=(store.chunk, 3072, 14, 14),
        dtype="float16",
        compressors=(ZstdCodec(level=-1), Crc32cCodec()),
    )
    for start in range(0, IMAGES, store.chunk):
        span = slice(start, start + store.chunk)
        array[span] = store.maps(LAYER, span).astype(np.float16)
    return array


def bytes_read(path: Path, array: str, *selection: slice | int) -> int:
    """What plain Zarr reads of a store for a part of an array."""
    traffic = Traffic()
    token = counted.set(traffic)
    try:
        group: Any = zarr.open_group(CountedStore(LocalStore(path, read_only=True)), mode="r")
        group[array][selection]
    finally:
        counted.reset(token)
    return traffic.read.bytes


def seconds_to_open(url: str) -> float:
    """Seconds that plain xarray takes to open a store of many layers and images, of which no map is written."""
    root, blocks = Root(url), model_blocks(DEEP, MANY, 16)
    sources = np.array([f"class {index % 1000}/image {index}.jpg" for index in range(MANY)], object)
    store = ActivationStore.create(
        root,
        "large",
        fingerprint("bench"),
        units=DEEP,
        images=MANY,
        block=blocks.shard,
        chunk=blocks.chunk,
        codecs={layer.name: "lz4" for layer in DEEP.layers},
        labels={"source": sources},
        attributes={"generator": False},
    )
    ModelStore.finish(store)
    there: Any = root.store("activations/large.zarr", read_only=True)
    (seconds,) = in_turn(3, lambda: timed(lambda: xr.open_datatree(there, engine="zarr")))
    return seconds


def _serve() -> None:
    from moto.server import ThreadedMotoServer

    ThreadedMotoServer("127.0.0.1", PORT, verbose=False).start()
    time.sleep(3600)


def on_s3() -> float:
    """The same from an S3 server on this machine."""
    server = multiprocessing.get_context("spawn").Process(target=_serve, daemon=True)
    server.start()
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{PORT}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    try:
        for _ in range(100):
            try:
                boto3.client("s3").create_bucket(Bucket="bench")
                break
            except Exception:  # it is not up yet
                time.sleep(0.2)
        return seconds_to_open("s3://bench/run")
    finally:
        server.terminate()


def stored_over_float32(root: Path, images: int) -> float:
    """What the activation stores of a run take, over their maps as float32."""
    raw = stored = 0
    for model in (root / "activations").iterdir():
        units = ActivationStore.read(Root(str(root)), model.stem).units
        raw += 4 * images * sum(layer.values for layer in units.layers)
        stored += folder_bytes(model)
    return stored / raw


def largest_change(rounded: Path, exact: Path) -> float:
    """The largest difference of any correlation between two runs."""
    found = 0.0
    for pair in (rounded / "correlations").iterdir():
        one, other = (xr.open_zarr(root / "correlations" / pair.name).pearson.values for root in (rounded, exact))
        found = max(found, float(np.nanmax(np.abs(one - other))))
    return found


def main() -> None:
    """Measure, add to bench.json, print the table."""
    BENCH.mkdir(parents=True, exist_ok=True)
    clear("stores")
    folder = BENCH / "stores"
    blocks = model_blocks(VIT_B, MANY, 16)
    write(Root(str(folder)), "vit", VIT_B.layers[:2], IMAGES, 0, blocks)
    store, path = ActivationStore.read(Root(str(folder)), "vit"), folder / "activations" / "vit.zarr"
    old, plain = old_layout(store), zarr.open_array(str(path / LAYER / "activation"), mode="r")

    # As mining reads: every block where the last one was.
    room = np.empty((store.chunk, 3072, 14, 14), np.float32)

    def all_blocks(read: Callable[[slice], object]) -> float:
        return timed(lambda: [read(slice(start, start + store.chunk)) for start in range(0, IMAGES, store.chunk)])

    before, ours, by_zarr = in_turn(
        REPEATS,
        partial(all_blocks, lambda span: np.asarray(old[span]).astype(np.float32)),
        partial(all_blocks, lambda span: store.maps(LAYER, span, out=room)),
        partial(all_blocks, lambda span: plain[span]),
    )
    unit_before, unit = in_turn(REPEATS, lambda: timed(lambda: old[:, UNIT]), lambda: timed(lambda: plain[:, UNIT]))
    own = folder_bytes(path / LAYER / "activation") / 3072
    read = bytes_read(path, f"{LAYER}/activation", slice(None), UNIT)
    files = file_count(VIT_B, MANY, blocks.shard, 1)
    here, there = seconds_to_open(str(folder / "deep")), on_s3()
    faces, _, _ = mine("stores-faces", 64)
    exact, _, _ = mine("stores-exact", 64, "compute.dtype=float32")
    ratio, change = stored_over_float32(faces, 64), largest_change(faces, exact)
    report(
        f"activation stores, {IMAGES} images of a layer of 3,072 channels on 14 × 14",
        {
            "unit_bytes_read_over_own": figure(read / own, "ratio", "≤ 16", read / own <= 16),
            "unit_read_seconds": figure(unit, "s"),
            "unit_read_speedup_over_format_2": figure(unit_before / unit, "ratio"),
            "block_read_over_format_2": figure(before / ours, "ratio", "≥ 0.9", before / ours >= 0.9),
            "block_read_by_plain_zarr_over_format_2": figure(before / by_zarr, "ratio"),
            "files_50000_vitb": figure(files, "", "≤ 20,000", files <= 20_000),
            "store_over_raw_float32": figure(ratio, "ratio", "≤ 0.5", ratio <= 0.5),
            "correlation_change_by_storage": figure(change, "", "≤ 1e-4", change <= 1e-4),
            "open_24_layers_50000_images": figure(here, "s", "≤ 0.3", here <= 0.3),
            "open_24_layers_50000_images_s3": figure(there, "s", "≤ 2", there <= 2),
        },
    )
    clear("stores", "stores-faces", "stores-exact")


if __name__ == "__main__":
    main()

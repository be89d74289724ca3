"""Shards that are put together here are those of Zarr's sharding codec, whatever their shapes, and damage is seen."""

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.artifacts import layout
from storage.artifacts.shards import CHANNELS, ShardReader, Shards, best_codec, encode, write_shard

SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 2 * CHANNELS + 5), st.integers(1, 5), st.integers(1, 5))
"""Images, channels, y, x."""


def written(maps: np.ndarray, chunk: int, blocks: int, codec: str) -> zarr.Array:
    """An array in memory, written shard by shard."""
    images, channels, height, width = maps.shape
    shards = Shards(channels, (height, width), chunk, blocks)
    axes = {"image": images, "channel": channels, "y": height, "x": width}
    group = zarr.create_group(zarr.storage.MemoryStore())
    array = layout.create_array(group.create_group("layer"), "maps", "float32", axes, "maps", **shards.options(codec))
    size = chunk * blocks
    for number, start in enumerate(range(0, images, size)):
        part = maps[start : start + size]
        rows = [
            [encode(one, codec) for one in shards.split(part[first : first + chunk])]
            for first in range(0, len(part), chunk)
        ]
        write_shard(array, number, shards.join(rows))
    return array


@given(SHAPES, st.integers(0, 3), st.integers(0, 2), st.sampled_from(["lz4", "zstd"]), st.data())
@settings(deadline=None, max_examples=60)
def test_zarr_reads_what_is_written_and_the_reader_any_part_of_it(shape, chunk, blocks, codec, data):
    maps = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    array = written(maps, 1 << chunk, 1 << blocks, codec)
    np.testing.assert_array_equal(array[...], maps)
    bounds = [sorted(data.draw(st.tuples(st.integers(0, size), st.integers(0, size)))) for size in shape[:2]]
    images, channels = (slice(*pair) for pair in bounds)
    np.testing.assert_array_equal(ShardReader(array).read(images, channels), maps[images, channels])


@given(SHAPES, st.integers(0, 3), st.integers(0, 2), st.sampled_from(["lz4", "zstd"]))
@settings(deadline=None, max_examples=20)
def test_the_reader_reads_what_zarr_writes(shape, chunk, blocks, codec):
    maps = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    array = written(np.zeros_like(maps), 1 << chunk, 1 << blocks, codec)
    array[...] = maps
    np.testing.assert_array_equal(ShardReader(array).read(slice(None), slice(None)), maps)


def test_every_byte_counts():
    maps = np.random.default_rng(2).normal(size=(3, 5, 2, 2)).astype(np.float32)
    array = written(maps, 2, 2, "lz4")
    store = array.store_path.store
    (key,) = (key for key in store._store_dict if "/c/" in key)
    whole = store._store_dict[key].to_bytes()
    for place in range(len(whole)):
        broken = bytearray(whole)
        broken[place] ^= 1
        store._store_dict[key] = type(store._store_dict[key]).from_bytes(bytes(broken))
        with pytest.raises(ValueError, match="checksum"):
            ShardReader(array).read(slice(None), slice(None))
    for length in (0, 3, len(whole) // 2, len(whole) - 1):
        store._store_dict[key] = type(store._store_dict[key]).from_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"checksum|buffer|size"):
            ShardReader(array).read(slice(None), slice(None))
    del store._store_dict[key]
    with pytest.raises(FileNotFoundError):
        ShardReader(array).read(slice(None), slice(None))


def test_zeros_get_the_codec_that_makes_them_small_and_noise_the_fast_one():
    noise = np.random.default_rng(3).normal(size=(8, 12, 14, 14)).astype(np.float16).astype(np.float32)
    assert best_codec(noise) == "lz4"
    assert best_codec(np.where(noise > 1, noise, 0).astype(np.float32)) == "zstd"

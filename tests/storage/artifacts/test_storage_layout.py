"""Blocks nest, moments add up, fingerprints tell what differs, nothing leaves the root."""

import numpy as np
import pandas as pd
import pytest
from described import described
from hypothesis import given
from hypothesis import strategies as st
from stores import begin
from strategies import SEEDS

from rosetta.errors import UserError
from rosetta.units import WHOLE, Layer, Units
from storage.artifacts import catalogue, layout, tables
from storage.artifacts.activations import combine_moments
from storage.artifacts.blocks import block_count, block_size, block_slice
from storage.artifacts.fingerprint import fingerprint
from storage.filesystem.root import Root


@given(
    images=st.integers(1, 10_000),
    small=st.integers(1, 10**7),
    large=st.integers(1, 10**7),
    target=st.integers(1, 10**8),
)
def test_blocks_are_powers_of_two_that_nest_and_cover(images, small, large, target):
    sizes = [block_size(bytes_per_image, target, images) for bytes_per_image in (small, large)]
    for size, bytes_per_image in zip(sizes, (small, large), strict=True):
        assert size & (size - 1) == 0
        assert size * bytes_per_image <= target or size == 1
        assert size < 2 * images
        covered = [block_slice(block, size, images) for block in range(block_count(images, size))]
        assert [i for span in covered for i in range(span.start, span.stop)] == list(range(images))
    assert max(sizes) % min(sizes) == 0


@given(
    counts=st.lists(st.integers(1, 6), min_size=1, max_size=5),
    positions=st.integers(1, 5),
    offset=st.sampled_from([0.0, 1e6, -3e-5]),
    seed=SEEDS,
)
def test_moments_of_blocks_make_those_of_the_whole(counts, positions, offset, seed):
    random = np.random.default_rng(seed)
    blocks = [random.normal(size=(count * positions, 3)) + offset for count in counts]
    means = np.stack([block.mean(axis=0) for block in blocks])
    squares = np.stack([((block - block.mean(axis=0)) ** 2).sum(axis=0) for block in blocks])
    mean, variance = combine_moments(np.array(counts), means, squares, positions)
    whole = np.concatenate(blocks)
    np.testing.assert_allclose(mean, whole.mean(axis=0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(variance, whole.var(axis=0), rtol=1e-6, atol=1e-12)


def test_a_constant_channel_has_variance_zero_exactly():
    value = np.float64(np.float32(0.1))
    mean, variance = combine_moments(np.array([3, 1, 7]), np.full((3, 1), value), np.zeros((3, 1)), 49)
    assert mean[0] == value
    assert variance[0] == 0.0


def test_a_fingerprint_names_the_first_difference():
    old, new = (fingerprint("x", model={"weights": sha, "layers": None}) for sha in ("aa", "bb"))
    with pytest.raises(UserError, match=r'model.weights: "aa" → "bb"\); give --replace'):
        new.require_match("activations/x.zarr", old.attributes())
    new.require_match("activations/x.zarr", new.attributes())


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "tables/../../x"])
def test_nothing_leaves_the_root(tmp_path, path):
    with pytest.raises(ValueError, match="leaves the root"):
        Root(str(tmp_path)).path(path)


@pytest.mark.parametrize("url", ["{tmp}", "file://{tmp}", "memory://layout"])
def test_files_and_tables_at_any_url(tmp_path, url):
    root = Root(url.format(tmp=tmp_path))
    frame = described("tables/units.parquet", pd.DataFrame({"unit": range(3), "layer": ["a", "b", "<c>"]}))
    wanted = fingerprint("table", of=1)
    tables.write(root, catalogue.UNITS.path(), frame, wanted)
    first = root.read_bytes("tables/units.parquet")
    tables.write(root, catalogue.UNITS.path(), frame, wanted)
    assert root.read_bytes("tables/units.parquet") == first, "the same rows give the same bytes"
    pd.testing.assert_frame_equal(tables.read(root, catalogue.UNITS.path()), frame)
    assert tables.attributes(root, catalogue.UNITS.path())["fingerprint"] == wanted.digest
    assert tables.attributes(root, "tables/none.parquet") == {}
    assert root.list("tables") == ["units.parquet"]
    root.remove("tables")
    assert not root.exists("tables/units.parquet")


def test_credentials_in_a_url_are_refused_and_not_shown():
    with pytest.raises(UserError, match=r"root s3://bucket/run: the URL holds credentials.*AWS_PROFILE") as told:
        Root("s3://key:secret@bucket/run")
    assert "secret" not in str(told.value).replace("AWS_SECRET_ACCESS_KEY", "")
    assert Root("ftp://me:secret@host/run").shown == "ftp://host/run"


def test_a_store_says_which_layers_reach_beyond_the_image(tmp_path):
    frame = (-0.625, -0.625, 1.625, 1.625)
    units = Units((Layer("early", 2, (16, 16), frame), Layer("late", 3, (32, 32))))
    root = Root(str(tmp_path))
    store = begin(root, "g", fingerprint("activations", of="g"), units, images=2, block=1)
    assert store.attributes["frames"] == {"early": list(frame)}
    assert [layer.frame for layer in store.units.layers] == [frame, WHOLE]
    assert [layer.raw_grid for layer in store.units.layers] == [(36, 36), (32, 32)]
    del store.group.attrs["frames_json"]  # as stores were before
    older = type(store)(store.group)
    assert older.units == units
    assert older.units.layers[0].frame == WHOLE


def test_values_of_float16_come_back_from_float32_bit_by_bit(tmp_path):
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    group = layout.create_store(Root(str(tmp_path)), "features.zarr")
    layout.create_values(group, "value", every.astype(np.float32), ("entry",), "value", **layout.ROUNDED)
    found = np.asarray(layout.array_of(group, "value")[:])
    assert found.dtype == np.float32
    numbers = ~np.isnan(every)
    np.testing.assert_array_equal(found.astype(np.float16).view(np.uint16)[numbers], every.view(np.uint16)[numbers])
    assert np.isnan(found[~numbers]).all()


def test_stores_say_which_recipe_they_are_of_wherever_the_run_lies(tmp_path):
    models = "".join(f'[[models]]\nname = "{name}"\nmodel = "timm/{name}"\n' for name in ("resnet18", "resnet34"))
    digests = {}
    for place, count in (("one", 8), ("two", 8), ("three", 9), ("damaged", 8), ("none", 0)):
        root = Root(str(tmp_path / place))
        text = f'name = "{place}"\nroot = "{root.shown}"\n[images]\nsource = "files"\ncount = {count}\n{models}'
        if count:
            root.write_bytes("recipe.toml", text.encode()[: 7 if place == "damaged" else None])
        digests[place] = layout.create_store(root, "features.zarr").attrs.get("recipe_sha256")
    assert digests["one"] == digests["two"] != digests["three"]
    assert len(digests["one"]) == len(digests["three"]) == 64
    assert digests["damaged"] is digests["none"] is None


@pytest.mark.parametrize(
    ("array", "chunk", "entry"),
    [
        ("pixel_feature", (2, 0, 0, 0), (2,)),
        ("digest", (1,), (1,)),
        ("feature", (0,), None),  # names, written with the layout
        ("feature", (2, 0, 0, 0), (2,)),  # of format 2
        ("name", (0,), None),  # of format 2
        ("bookkeeping/written", (3,), (3,)),
    ],
)
def test_markers_of_features_in_either_format(array, chunk, entry):
    assert catalogue.FEATURES.entry(array, chunk) == entry

"""Every variable of every store, as plain xarray sees it: it says what it is, and its numbers are right."""

from pathlib import Path

import numpy as np
import pandas as pd
import plain_xarray
import planted
import pytest
import xarray as xr
import zarr

from rosetta.mining.buddies import nearest_neighbours
from rosetta.units import Layer, Units
from storage.artifacts.catalogue import CATALOGUE, PROFILES, RECIPE, instances
from storage.artifacts.causes import AblationStore, SilencingStore
from storage.artifacts.explanations import ExplanationStore, ImageExplanation
from storage.artifacts.fingerprint import fingerprint
from storage.artifacts.guided import Found, GuidedStore
from storage.artifacts.joined import StrengthStore
from storage.artifacts.neighbours import NeighbourStore
from storage.artifacts.words import WordStore
from storage.filesystem.root import Root
from storage.run.data import _turned
from tasks.correlate.setting import Setting

COUNT = 24
STORES = [artifact for artifact in CATALOGUE if artifact.kind == "store"]
MODELS = ("a", "b")
RECIPE_TEXT = f'name = "plain"\nroot = "elsewhere"\n[images]\ncount = {COUNT}\nsource = "none"\n' + "".join(
    f'[[models]]\nname = "{model}"\nmodel = "timm/resnet18"\nweights = "random:0"\n' for model in MODELS
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Root:
    """A run of two models, judged; both kinds of correlations; a search that was made up."""
    root = Root(str(tmp_path_factory.mktemp("run"))).absolute
    root.write_bytes(RECIPE.path(), RECIPE_TEXT.encode())
    random = np.random.default_rng(3)
    pixels = planted.pictures(random, COUNT)
    planted.write_images(root, pixels)

    def layer(channels: int, grid: tuple[int, int], scale: float, shift: float = 0.0) -> np.ndarray:
        plain = planted.pixel_maps(pixels, grid)[:, :channels]
        return scale * (plain + random.normal(size=plain.shape)) + shift

    # Sums of the loud ones are beyond float16, which holds 65504, and squares of the faint ones below it.
    a = {"blocks.10": layer(6, (9, 5), 3000.0, 1e4), "blocks.2": layer(5, (4, 12), 1e-5)}
    b = {"head": layer(7, (6, 6), 1.0, -3.0), "flat": layer(4, (1, 1), 40.0)}
    a["blocks.10"][:, 2] = 1.5
    planted.write_maps(root, "a", a, block=8)
    planted.write_maps(root, "b", b, block=8)
    planted.judge(root, MODELS, (), neighbours=2, setting=Setting(threads=2))
    _write_neighbours(root, random)
    _write_explanations(root, random)
    _write_search(root, "inversions/some", random, conditional=True)
    _write_search(root, "edits/some", random, conditional=False)
    _write_causes(root, random)
    _write_words(root, random)
    _write_strengths(root, random)
    return root


def _write_strengths(root: Root, random: np.random.Generator) -> None:
    sides = [(name, Units((Layer("x", units, (2, 2)),))) for name, units in (("g-1", 5), ("g-2", 4))]
    store = StrengthStore.create(root, sides, ("a", "b"), (False, True), fingerprint("strengths"))
    for pivot in range(2):
        store.write(pivot, (0, 0), random.uniform(-1, 1, size=(5, 4)).astype(np.float32))
    store.finish()


def _write_words(root: Root, random: np.random.Generator) -> None:
    words = ["bear", "sea", "stone"]
    text = random.normal(size=(3, 8)).astype(np.float32)
    score = random.normal(size=(2, 3)).astype(np.float32)
    WordStore.write(
        root, fingerprint("words"), np.array([0, 4]), words, score, np.array([0.5, 1.5]), text, {"model": "toy"}
    )


def _write_causes(root: Root, random: np.random.Generator) -> None:
    ablations = AblationStore.create(
        root, fingerprint("causes"), units=np.array([4, 1, 7]), neurons=2, models={"a": 5, "b": 3}, block=2
    )
    for span in ablations.missing:
        of_block = (span.stop - span.start, 2)
        found = {name: random.normal(size=(*of_block, width)) for name, width in (("a", 5), ("b", 3))}
        ablations.write(span, {name: (values[:, 0], values[:, 1]) for name, values in found.items()})
    ablations.finish()
    silencings = SilencingStore.create(
        root,
        fingerprint("silenced"),
        concepts=[0, 3],
        sets=4,
        measures=("distance", "cosine"),
        classes={"a": None, "b": ["cat", "dog", "toad"]},
    )
    for position in range(2):
        moved = random.normal(size=(2, 4, 2))
        silencings.write(position, {"a": (moved[0], None), "b": (moved[1], random.normal(size=(4, 3)))})
    silencings.finish()


def _write_explanations(root: Root, random: np.random.Generator) -> None:
    store = ExplanationStore.create(
        root,
        fingerprint("explain"),
        "a.0-3",
        images=np.arange(3),
        concepts=pd.DataFrame({"cluster": [0, 4], "unit": [7, 1]}),
        model="a",
        layer="x",
        grid=(2, 3),
        block=2,
    )
    for span in store.missing:
        each = range(span.start, span.stop)
        values = [(random.random((2, 3), np.float32), random.random(2), random.random(2)) for _ in each]
        store.write(span, [ImageExplanation(5, "cat", 1.5, 0.5, 0.75, 0.25, *of_image) for of_image in values])
    store.finish()
    assert store.found()[2].label == "cat"
    assert store.found()[2].pearson.tolist() == values[-1][1].tolist()


def _write_neighbours(root: Root, random: np.random.Generator) -> None:
    sides = [Units((Layer("x", units, (2, 2)),)) for units in (9, 6)]
    store = NeighbourStore.create(root, "x", "y", fingerprint("pair"), *sides, 3)
    pearson = random.uniform(-1, 1, size=(9, 6)).astype(np.float32)
    store.write((0, 0), *(nearest_neighbours(np.ascontiguousarray(one), 3, same=False) for one in (pearson, pearson.T)))
    store.finish()


def _write_search(root: Root, where: str, random: np.random.Generator, *, conditional: bool) -> None:
    images, size, frames, steps, terms = 3, (6, 4), 3, 4, ("rec", "match")
    store = GuidedStore.create(
        root,
        where,
        fingerprint("search", of=where),
        model="a",
        guidance=("all", "none"),
        sources=["one", "two", "three"],
        targets=random.integers(256, size=(images, *size, 3), dtype=np.uint8) if conditional else None,
        classes=np.arange(images) if conditional else None,
        size=size,
        latent={"style": 2, "w": 5} if conditional else {"z": 5},
        frame_steps=(0, 2, 4),
        steps=steps,
        terms=terms,
        batch=2,
    )
    latent = (2, 5) if conditional else (5,)
    for kind, span in store.missing():
        count = span.stop - span.start
        start, end = random.normal(size=(2, count, *latent)).astype(np.float32)
        pixels = random.integers(256, size=(count, frames, *size, 3), dtype=np.uint8)
        loss = random.normal(size=(count, steps + 1, len(terms))).astype(np.float32)
        loss[..., 1] = np.nan
        store.write(kind, span, Found(start, end, pixels, loss))
    store.finish()


@pytest.fixture(params=STORES, ids=lambda artifact: artifact.pattern)
def stores(root: Root, request: pytest.FixtureRequest) -> list[Path]:
    """All of a kind."""
    found = [root.local / instance.path for instance in instances(root, lambda row: row is request.param)]
    assert found
    return found


def test_it_says_what_it_is(stores: list[Path]) -> None:
    for store in stores:
        plain_xarray.require_names(store)
        assert len(zarr.open_group(store, mode="r").attrs["recipe_sha256"]) == 64


@pytest.mark.filterwarnings("ignore:All-NaN", "ignore:Mean of empty", "ignore:Degrees of freedom")
def test_its_numbers_are_those_of_float64(stores: list[Path]) -> None:
    for store in stores:
        plain_xarray.require_reductions(store)


@pytest.mark.filterwarnings("ignore:All-NaN", "ignore:Mean of empty", "ignore:Degrees of freedom", "ignore:invalid")
def test_correlations_are_those_of_float64(stores: list[Path]) -> None:
    for store in stores:
        plain_xarray.require_correlations(store)


def test_layers_of_a_profile_have_their_order_and_units(root: Root) -> None:
    tree = xr.open_datatree(str(root.local / PROFILES.path("a")), engine="zarr")
    layers = [node for node in tree.children.values() if "order" in node.attrs]
    assert [node.attrs["layer"] for node in sorted(layers, key=lambda node: node.attrs["order"])] == [
        "blocks.10",
        "blocks.2",
    ]
    late = tree["blocks.2"].dataset
    assert late["unit"].values.tolist() == [6, 7, 8, 9, 10]
    assert late["kurtosis"].sel(channel=3).coords["layer"].item() == "blocks.2"
    assert late["common"].values.tolist() == [
        f"{y} × {x}" for y, x in zip(late["common_y"].values, late["common_x"].values, strict=True)
    ]
    assert late["pixels"].sel(feature="red", common=late["common"][0]).dims == ("channel",)


def test_pairs_turn_with_their_coordinates(root: Root) -> None:
    pair = xr.open_zarr(str(root.local / "correlations/a~b.zarr"), chunks={})
    turned = _turned(pair)
    np.testing.assert_array_equal(turned["pearson"].sel(unit_a=3).values, pair["pearson"].sel(unit_b=3).values)
    assert turned["layer_a"].values.tolist() == pair["layer_b"].values.tolist()
    assert turned["unit_a"].attrs["long_name"] == "unit of b"


def test_ablations_and_silencings_can_be_selected(root: Root) -> None:
    ablations = xr.open_datatree(str(root.local / "ablations.zarr"), engine="zarr")
    effect = ablations["models/b"].dataset["effect"]
    assert effect.sel(unit=2).dims == ("ablated",)
    assert ablations.dataset["anchor_unit"].values.tolist() == [4, 1, 7]
    assert ablations.dataset["random"].values.tolist() == [False, False, True]
    silencings = xr.open_datatree(str(root.local / "silencings.zarr"), engine="zarr")
    assert silencings["models/b"].dataset["shift"].sel(set=0, concept=3).dims == ("class",)
    assert silencings["models/a"].dataset["moved"].sel(measure="cosine").dims == ("concept", "set")
    assert "shift" not in silencings["models/a"].dataset


def test_searches_can_be_selected_by_name(root: Root) -> None:
    found = xr.open_zarr(str(root.local / "inversions/some/result.zarr"), chunks=None)
    assert found["loss"].sel(guidance="none", term="rec", step=4).dims == ("image",)
    assert found["frames"].sel(frame=2, rgb="green", guidance="all").dims == ("image", "y", "x")
    assert set(found["latent"].coords) >= {"source", "class", "image"}

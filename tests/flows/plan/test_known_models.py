"""A model is loaded once after whatever may have changed it, and what it agreed with is kept."""

import json
import shutil
from importlib import metadata
from pathlib import Path

import pytest
from packaged import PACKAGED

from flows.mine import finished
from flows.plan.checks import prepare
from flows.plan.identity import examined, of_images, of_maps, of_recipe
from rosetta.errors import UserError
from rosetta.recipe import Recipe, read_recipe, recipe_from
from rosetta.zoo import behaviour
from storage.artifacts import agreed, catalogue
from storage.artifacts.fingerprint import IMAGE, MAPS
from storage.artifacts.shared import store_attributes
from storage.filesystem.root import Root
from storage.upkeep.check import check_root
from storage.upkeep.prune import find_leftovers
from storage.upkeep.sealing import unsealed
from storage.upkeep.status import status

LOOKER, PAINTER = "timm/test_efficientnet", "dcgan/digiface"


class Loaded(list[str]):
    """Names of the models that were loaded, as a new process would."""

    def taken(self) -> list[str]:
        """Those since the last time, in order; all is forgotten."""
        names = sorted(self)
        self.clear()
        examined.cache_clear()
        return names


@pytest.fixture
def loaded(monkeypatch):
    names = Loaded()
    names.taken()
    load = behaviour.load

    def noted(spec, *more):
        names.append(spec.name)
        return load(spec, *more)

    monkeypatch.setattr(behaviour, "load", noted)
    yield names
    examined.cache_clear()


def update(monkeypatch, version: str) -> None:
    """Install another version of torch."""
    known = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: version if name == "torch" else known(name))


# One store.

CODES = {
    "made before code was kept": lambda spec: {},
    "made with other code": lambda spec: {"made_with": {**behaviour.made_with(spec.model), "torch": "1.0"}},
}
FINDERS = {"maps": (of_maps, "model", LOOKER), "images": (of_images, "generator", PAINTER)}


def spec_of(model: str):
    models = [{"name": name, "model": model, "weights": "random:1"} for name in "ab"]
    return recipe_from({"name": "r", "root": "r", "models": models}, "r").models[0]


def store_of(spec, part: str, sketched: bool = True) -> dict:
    """What a finished store says of its model."""
    found = examined(spec, "0")
    units = [[layer.name, layer.channels, *layer.grid] for layer in found.units.layers]
    of_maps = {"preprocessing": found.preprocessing, "units": units, **({MAPS: found.maps} if sketched else {})}
    measured = of_maps if part == "model" else {IMAGE: found.image} if sketched else {}
    depends = json.loads(json.dumps({part: {**of_recipe(spec, "0"), **measured}}))
    return {"fingerprint": "f", "depends": depends, "complete": True}


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("sketched", [True, False], ids=["with sketches", "without"])
@pytest.mark.parametrize("finder", FINDERS)
def test_a_store_that_agreed_is_believed_until_the_code_is_other(finder, sketched, code, loaded, monkeypatch):
    find, part, model = FINDERS[finder]
    spec = spec_of(model)
    store = {**store_of(spec, part, sketched), **CODES[code](spec)}
    loaded.taken()
    first = find(spec, "0", [store], {})
    assert (loaded.taken(), first.depends) == (["a"], store["depends"][part])
    again = find(spec, "0", [store], first.agreed)
    assert (loaded.taken(), again.depends, again.made_with) == ([], first.depends, first.made_with)
    assert not again.agreed, "nothing new is to be kept"
    update(monkeypatch, "9.9")
    updated = find(spec, "0", [store], first.agreed)
    assert loaded.taken() == ["a"]
    find(spec, "0", [store], updated.agreed)
    assert loaded.taken() == []


@pytest.mark.parametrize("change", ["maps", "complete", "another store"])
def test_what_did_not_agree_is_asked_again(change, loaded):
    spec = spec_of(LOOKER)
    store = store_of(spec, "model")
    known = of_maps(spec, "0", [store], {}).agreed
    assert set(known) == {"f"}
    if change == "maps":
        first = next(iter(store["depends"]["model"][MAPS].values()))
        first[-1] += first[1]
        assert of_maps(spec, "0", [store], {}).agreed == {}
        known = {}
    elif change == "complete":
        store["complete"] = False
    else:
        store["fingerprint"] = "g"
    loaded.taken()
    of_maps(spec, "0", [store], known)
    assert loaded.taken() == ["a"]


def test_a_users_own_model_is_always_asked(loaded):
    spec = spec_of("python:tinyzoo:small")
    store = store_of(spec, "model")
    known = of_maps(spec, "0", [store], {}).agreed
    for _ in range(2):
        loaded.taken()
        assert of_maps(spec, "0", [store], known).depends == store["depends"]["model"]
        assert loaded.taken() == ["a"]


# The file.


def test_what_is_known_is_added_to_and_never_in_the_way(tmp_path):
    first, second = Root(str(tmp_path / "first")), Root(str(tmp_path / "second"))
    agreed.keep({}, first)
    assert not (tmp_path / "first").exists()
    agreed.keep({"a": {"torch": "1"}, "b": "x"}, first)
    agreed.keep({"b": "y"}, first, second)
    agreed.keep({"c": "z"}, second)
    assert agreed.known(first) == {"a": {"torch": "1"}, "b": "y"}
    assert agreed.known(first, second) == {"a": {"torch": "1"}, "b": "y", "c": "z"}
    for content in (b"", b"[1]", b"3", b'"a"', b"\xff", b"null"):
        first.write_bytes(catalogue.AGREED, content)
        assert agreed.known(first) == {}
        agreed.keep({"a": "b"}, first)
        assert agreed.known(first) == {"a": "b"}


# Whole runs.

MODELS = f"""
[[models]]
name = "dcgan"
{PACKAGED["dcgan"]}
[[models]]
name = "small"
model = "{LOOKER}"
weights = "random:1"
[[models]]
name = "pixels"
model = "pixels/32"
control = true
[compute]
chunk_mib = 1
device = "cpu"
"""
ALL = ["dcgan", "pixels", "small"]


def recipe_in(folder: Path, name: str, images: str = "") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(f'name = "{name}"\nroot = "{folder / name}"\n[images]\ncount = 12\n{images}{MODELS}')
    return path


@pytest.fixture(scope="module")
def mined(rosetta, tmp_path_factory):
    """A run, and one that has its stores from it."""
    folder = tmp_path_factory.mktemp("known")
    for name, images in {"first": "", "second": f'from = "{folder / "first"}"'}.items():
        rosetta.json("mine", recipe_in(folder, name, images))
    return folder


@pytest.fixture
def runs(mined, tmp_path):
    """Copies of them, to be changed."""
    shutil.copytree(mined, tmp_path, dirs_exist_ok=True)
    for path in (*tmp_path.glob("*/recipe.toml"), *tmp_path.glob("*/shared.json"), *tmp_path.glob("*.toml")):
        path.write_text(path.read_text().replace(str(mined), str(tmp_path)))
    return tmp_path


def nothing_to_do(folder: Path, name: str) -> Recipe:
    recipe = read_recipe(folder / f"{name}.toml", None, ())
    assert finished(prepare(recipe)) is not None
    return recipe


@pytest.mark.slow
def test_nothing_to_do_loads_each_model_once_after_an_update(runs, loaded, monkeypatch):
    nothing_to_do(runs, "first")
    assert loaded.taken() == []
    for version in ("9.8", "9.9"):
        update(monkeypatch, version)
        nothing_to_do(runs, "first")
        assert loaded.taken() == ALL
        nothing_to_do(runs, "first")
        assert loaded.taken() == []


@pytest.mark.slow
def test_a_root_that_can_only_be_read_needs_no_memory(runs, loaded, monkeypatch):
    def refuse(root, relative, content):
        raise PermissionError(13, "Permission denied", relative)

    monkeypatch.setattr(Root, "write_bytes", refuse)
    update(monkeypatch, "9.9")
    for _ in range(2):
        nothing_to_do(runs, "first")
        assert loaded.taken() == ALL


@pytest.mark.slow
def test_what_agreed_is_known_to_all_runs_that_share_it(runs, loaded, monkeypatch):
    update(monkeypatch, "9.9")
    nothing_to_do(runs, "second")
    assert loaded.taken() == ALL
    nothing_to_do(runs, "first")
    assert loaded.taken() == []
    assert [path.parent.name for path in runs.rglob(catalogue.AGREED)] == ["first"]


@pytest.mark.slow
def test_a_run_knows_for_itself_where_the_shared_root_can_only_be_read(runs, loaded, monkeypatch):
    write = Root.write_bytes

    def elsewhere_only(root, relative, content):
        if root.url.endswith("first"):
            raise PermissionError(13, "Permission denied", relative)
        write(root, relative, content)

    monkeypatch.setattr(Root, "write_bytes", elsewhere_only)
    update(monkeypatch, "9.9")
    nothing_to_do(runs, "second")
    assert loaded.taken() == ALL
    nothing_to_do(runs, "second")
    assert loaded.taken() == []


@pytest.mark.slow
def test_a_model_that_differs_is_never_known(runs, loaded, monkeypatch):
    """Its neighbours may be."""
    update(monkeypatch, "9.9")
    flipped = behaviour._test_image().flip(3)
    monkeypatch.setattr(behaviour, "_test_image", lambda: flipped)
    recipe = read_recipe(runs / "first.toml", None, ())
    root = Root(recipe.root)
    with pytest.raises(UserError, match=r"activations/small\.zarr was made from something else"):
        prepare(recipe)
    assert agreed.known(root) == {}
    loaded.taken()
    for expected in (ALL, ["pixels", "small"]):
        assert finished(prepare(recipe, replace=True)) is None
        assert loaded.taken() == expected
        stores = store_attributes(root)
        assert agreed.known(root).keys() == {
            stores[path]["fingerprint"] for path in ("images.zarr", "activations/dcgan.zarr")
        }


@pytest.mark.slow
def test_nothing_that_looks_after_a_root_minds_the_file(runs, loaded, monkeypatch):
    roots = [Root(str(runs / name)) for name in ("first", "second")]

    def seen():
        return [(check_root(root), status(root), find_leftovers(root), unsealed(root)) for root in roots]

    before = seen()
    update(monkeypatch, "9.9")
    nothing_to_do(runs, "second")
    assert (runs / "first" / catalogue.AGREED).exists()
    assert seen() == before

"""What each change of a run rebuilds, and what a refusal says of it: one line a change."""

import importlib
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import zarr
from PIL import Image

from flows.mine import finished
from flows.plan.checks import prepare
from flows.plan.gather import plan_of_recipe
from flows.plan.identity import examined
from flows.plan.stages import fingerprints
from rosetta.errors import UserError
from rosetta.recipe import Recipe, parse_recipe
from storage.artifacts import layout
from storage.artifacts.catalogue import ACTIVATIONS
from storage.artifacts.fingerprint import IMAGE, MAPS
from storage.artifacts.provenance import PROVENANCE

pytestmark = pytest.mark.slow

ZOO = '''
"""A generator and a model that looks."""
import torch
from torch import nn
from table_parts import body

class Maker(nn.Module):
    latent = 8

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.ConvTranspose2d(8, 6, 4), nn.Tanh(), nn.ConvTranspose2d(6, 3, 4, 4))
        self.default_layers = ("body.0", "body.1")

    def forward(self, latents):
        return torch.tanh(self.body(latents[:, :, None, None]))

class Seer(nn.Module):
    image_size = (16, 16)
    preprocessing = {"size": (16, 16), "mean": (0.5, 0.5, 0.5)}

    def __init__(self, scale=1.0):
        super().__init__()
        self.scale = scale
        self.body = body()
        self.default_layers = ("body.1", "body.3")

    def forward(self, images):
        return self.body(images * 1.0 * self.scale).mean(dim=(2, 3))
'''
PARTS = """
from torch import nn

def body():
    return nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.Tanh(), nn.Conv2d(6, 6, 3, 2, 1), nn.Tanh())
"""
RECIPE = """
name = "table"
root = "{folder}/root"
[images]
{images}
{maker}
[[models]]
name = "seer"
model = "python:table_zoo:Seer"
weights = "{folder}/seer.pth"
[[models]]
name = "plain"
model = "python:table_zoo:Seer"
weights = "random:1"
[[models]]
name = "pixels"
model = "pixels/32"
control = true
[compute]
chunk_mib = 1
device = "cpu"
"""
MAKER = '[[models]]\nname = "maker"\nmodel = "python:table_zoo:Maker"\nweights = "random:0"'


@dataclass
class Kit:
    """A finished run, and what may be changed of it."""

    folder: Path
    text: str
    """Of the recipe."""
    monkeypatch: pytest.MonkeyPatch
    changes: list[str] = field(default_factory=list)

    @property
    def recipe(self) -> Recipe:
        return parse_recipe(self.text, "table", None, self.changes)

    def edit(self, file: str, *pairs: tuple[str, str]) -> None:
        """Replace text in a module of the user's."""
        text = (self.folder / file).read_text()
        for old, new in pairs:
            assert old in text
            text = text.replace(old, new)
        (self.folder / file).write_text(text)
        forget(self.folder)

    def rewrite(self, old: str, new: str) -> None:
        """Replace text in the recipe."""
        assert old in self.text
        self.text = self.text.replace(old, new)

    def reweigh(self, factor: float) -> None:
        state = torch.load(self.folder / "seer.pth", weights_only=True)
        torch.save({name: tensor * factor for name, tensor in state.items()}, self.folder / "seer.pth")

    def update(self, version: str) -> None:
        """Install another version of torch."""
        known = metadata.version
        self.monkeypatch.setattr(metadata, "version", lambda name: version if name == "torch" else known(name))

    def resize_otherwise(self) -> None:
        """As torch does from then on."""
        nearest = partial(F.interpolate, mode="nearest")
        way = "rosetta.zoo.preprocessing.Preprocessing._resize"
        self.monkeypatch.setattr(way, lambda preprocessing, images: nearest(images, preprocessing.size))

    def repaint(self, name: str, size: int) -> None:
        Image.fromarray(np.full((size, size, 3), 200, np.uint8)).save(self.folder / "photos" / name)


def forget(folder: Path) -> None:
    """As a new process would: import and load anew."""
    for module in ("table_zoo", "table_parts"):
        sys.modules.pop(module, None)
    shutil.rmtree(folder / "__pycache__", ignore_errors=True)
    importlib.invalidate_caches()
    examined.cache_clear()


def a_run(tiny, folder: Path, images: str, maker: str) -> str:
    """A finished run in a folder; gives its recipe's text."""
    (folder / "table_zoo.py").write_text(ZOO)
    (folder / "table_parts.py").write_text(PARTS)
    body = {"0": (6, 3), "2": (6, 6)}
    random = torch.Generator().manual_seed(7)
    state = {}
    for name, size in body.items():
        state[f"body.{name}.weight"] = torch.randn(*size, 3, 3, generator=random) / 3
        state[f"body.{name}.bias"] = torch.zeros(6)
    torch.save(state, folder / "seer.pth")
    (folder / "photos").mkdir()
    noise = np.random.default_rng(0)
    for index in range(12):
        Image.fromarray(noise.integers(0, 256, (20, 20, 3), np.uint8)).save(folder / f"photos/{index:02}.png")
    text = RECIPE.format(folder=folder, images=images.format(folder=folder), maker=maker)
    (folder / "table.toml").write_text(text)
    path = f"{tiny.environment['PYTHONPATH']}:{folder}"
    done = type(tiny)({**tiny.environment, "PYTHONPATH": path})("mine", folder / "table.toml")
    assert done.returncode == 0, done.stderr
    return text


@pytest.fixture(scope="module")
def made(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    return folder, a_run(tiny, folder, "count = 12", MAKER)


@pytest.fixture(scope="module")
def photographed(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographed")
    return folder, a_run(tiny, folder, 'source = "{folder}/photos"\nsize = 16', "")


@pytest.fixture
def kit(request, tmp_path, monkeypatch):
    """A copy of such a run, to be changed."""
    folder, text = request.getfixturevalue(request.param)
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True, copy_function=shutil.copy2)
    kept = tmp_path / "root/recipe.toml"
    kept.write_text(kept.read_text().replace(str(folder), str(tmp_path)))
    forget(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Kit(tmp_path, text.replace(str(folder), str(tmp_path)), monkeypatch)
    forget(tmp_path)


JUDGED = {f"tables/{name}.parquet" for name in ("trust", "stability", "rosetta", "clusters")} | {"report/index.html"}
JUDGED |= {f"tables/{name}.parquet" for name in ("classes", "concept_classes")}
TABLES = JUDGED | {f"tables/{name}.parquet" for name in ("buddies", "distances", "null", "rarefaction")}
UNITS = {"tables/units.parquet", "tables/layers.parquet"}
IMAGES = {"images.zarr", "features.zarr"}


def of(anchor: str, *models: str) -> set[str]:
    """All that comes of some models' maps; the anchor is paired with everyone."""
    names = {"maker", "seer", "plain", "pixels"} - ({"maker"} if anchor == "seer" else set())
    partners = names if anchor in models else set(models)
    found = {f"{folder}/{model}.zarr" for folder in ("activations", "profiles") for model in models} | TABLES | UNITS
    found |= {f"correlations/{anchor}~{partner}.zarr" for partner in partners}
    found |= {
        f"tables/{of}/{anchor}~{partner}.parquet" for of in ("assigned", "excess") for partner in partners - {anchor}
    }
    return found | {f"tables/{of}/{anchor}~{partner}.parquet" for of in ("trust", "examined") for partner in partners}


PAIRS = {path for path in of("maker", "maker") if "~" in path}
EVERYTHING = of("maker", "maker", "seer", "plain", "pixels") | IMAGES
ALL_OF_PHOTOS = of("seer", "seer", "plain", "pixels") | IMAGES
SEER = of("maker", "seer")
BOTH = of("maker", "seer", "plain")

Row = tuple[str, Callable[[Kit], object], set[str], str]

MADE: list[Row] = [
    ("nothing", lambda kit: None, set(), ""),
    ("a copy of the weights", lambda kit: (
        shutil.copy(kit.folder / "seer.pth", kit.folder / "copy.pth"), kit.rewrite("/seer.pth", "/copy.pth")
    ), set(), "models.seer.weights: "),
    ("weights", lambda kit: kit.reweigh(1.5), SEER, "model.weights_sha256: "),
    ("seed of weights", lambda kit: kit.rewrite("random:1", "random:2"), of("maker", "plain"), "plain.weights: "),
    ("mean", lambda kit: kit.edit("table_zoo.py", ("(0.5, 0.5, 0.5)", "(0.5, 0.5, 0.4)")), BOTH,
     "model.preprocessing.mean: [0.5, 0.5, 0.5] → [0.5, 0.5, 0.4]"),
    ("size", lambda kit: kit.edit("table_zoo.py", ('"size": (16, 16)', '"size": (24, 24)')),
     # The profile holds what is needed of maker's units on the grids of the others, and rotations need it.
     BOTH | {"profiles/maker.zarr", "tables/excess/maker~pixels.parquet"},
     "model.preprocessing.size: [16, 16] → [24, 24]"),
    ("default layers", lambda kit: kit.edit("table_zoo.py", ('("body.1", "body.3")', '("body.1", "body.2")')), BOTH,
     'model.units: [["body.1", 6, 8, 8], ["body.3", 6, 4, 4]] → '),
    ("layers", lambda kit: kit.rewrite('pth"', 'pth"\nlayers = ["body.1"]'), SEER, "models.seer.layers: nothing → "),
    ("features", lambda kit: kit.rewrite(
        'pth"', 'pth"\nsae = [{place = "body.1", weights = "random:0", width = 9, activation = "relu"}]'
    ), SEER, "models.seer.sae"),
    ("match", lambda kit: kit.rewrite('pth"', 'pth"\nmatch = "order"'), SEER, "models.seer.match: "),
    ("options", lambda kit: kit.rewrite('pth"', 'pth"\noptions = { scale = 2 }'), SEER,
     'models.seer.options: nothing → {"scale": 2}'),
    ("no options", lambda kit: kit.rewrite('pth"', 'pth"\noptions = {}'), set(), ""),
    ("forward pass", lambda kit: kit.edit("table_zoo.py", ("images * 1.0", "images * 1.1")), BOTH,
     f"model.{MAPS} differ: body.1, body.3"),
    ("comments", lambda kit: kit.edit("table_zoo.py", ('that looks."""', 'that sees."""  # so')), set(), ""),
    ("a module that it imports", lambda kit: kit.edit("table_parts.py", ("1), nn.Tanh())", "1), nn.ReLU())")), BOTH,
     f"model.{MAPS} differ: body.3"),
    ("forward pass of the generator", lambda kit: kit.edit("table_zoo.py", ("tanh(self", "sin(self")), EVERYTHING,
     f"generator.{IMAGE} differs"),
    ("default layers of the generator", lambda kit: kit.edit("table_zoo.py", ('("body.0", "body.1")', '("body.1",)')),
     of("maker", "maker"), "model.units: "),
    ("a library, same maps", lambda kit: kit.update("9.9"), set(), ""),
    ("a library, other maps", lambda kit: (kit.update("9.9"), kit.resize_otherwise()), BOTH | of("maker", "pixels"),
     f"; torch {metadata.version('torch')} → 9.9"),
    ("seed", lambda kit: kit.changes.append("images.seed=1"), EVERYTHING, "images.seed: 0 → 1"),
    ("count", lambda kit: kit.changes.append("images.count=11"), EVERYTHING, "images.count: 12 → 11"),
    ("what the generator is told", lambda kit: kit.rewrite('"random:0"', '"random:0"\ncondition = {bound = 1.0}'),
     EVERYTHING, "models.maker.condition.bound: nothing → 1.0"),
    ("dtype", lambda kit: kit.changes.append("compute.dtype=float32"), EVERYTHING, "compute.dtype: "),
    ("chunks", lambda kit: kit.changes.append("compute.chunk_mib=2"), EVERYTHING, "compute.chunk_mib: 1 → 2"),
    ("precision", lambda kit: kit.changes.append("compute.precision=tf32"), PAIRS | TABLES, "compute.precision: "),
    ("correlation", lambda kit: kit.changes.append("matching.correlation=spearman"), PAIRS | TABLES,
     "matching.correlation: "),
    ("neighbours", lambda kit: kit.changes.append("matching.neighbours=3"),
     {path for path in PAIRS if "trust" in path or "examined" in path} | TABLES, "matching.neighbours: 5 → 3"),
    ("control", lambda kit: kit.rewrite('"random:1"', '"random:1"\ncontrol = true'),
     JUDGED | {"tables/null.parquet"}, "models.plain.control: false → true"),
    ("q", lambda kit: kit.changes.append("trust.q=0.01"), JUDGED, ""),
    ("name of the run", lambda kit: kit.changes.append("name=other"), {"report/index.html"}, ""),
    ("memory", lambda kit: kit.changes.append("compute.memory=1 GiB"), set(), ""),
]  # fmt: skip
PHOTOS: list[Row] = [
    ("nothing", lambda kit: None, set(), ""),
    ("files", lambda kit: (kit.folder / "photos/05.png").unlink(), ALL_OF_PHOTOS, "(05.png gone)"),
    ("content, another size", lambda kit: kit.repaint("05.png", 20), ALL_OF_PHOTOS, "(05.png changed)"),
    ("size of images", lambda kit: kit.changes.append("images.size=18"), ALL_OF_PHOTOS, "images.size: 16 → 18"),
    ("count", lambda kit: kit.changes.append("images.count=11"), ALL_OF_PHOTOS, "images.count: nothing → 11"),
]


@pytest.mark.parametrize(
    ("kit", "change", "rebuilt", "says"),
    [pytest.param(run, *row[1:], id=f"{run}: {row[0]}") for run in ("made", "photographed") for row in
     {"made": MADE, "photographed": PHOTOS}[run]],
    indirect=["kit"],
)  # fmt: skip
def test_what_a_change_rebuilds(kit: Kit, change, rebuilt, says):
    change(kit)
    before = json.loads((kit.folder / "root" / PROVENANCE).read_text())["fingerprints"]
    now = fingerprints(plan_of_recipe(kit.recipe))
    assert {path for path in before.keys() | now.keys() if before.get(path) != now.get(path)} == rebuilt
    if says:
        with pytest.raises(UserError) as refused:
            prepare(kit.recipe)
        assert says in str(refused.value)
        assert "--replace" in str(refused.value)
        assert "\n" not in str(refused.value)
        assert fingerprints(prepare(kit.recipe, replace=True)) == now
    else:
        assert (finished(prepare(kit.recipe)) is not None) == (not rebuilt)


@pytest.mark.parametrize("kit", ["made"], indirect=True)
def test_a_finished_store_of_the_zoo_is_believed_but_a_users_own_model_is_asked(kit: Kit):
    """Nothing to do is said without loading what only an update could change."""
    loaded = []

    def noted(spec, weights):
        loaded.append(spec.name)
        return examined(spec, weights)

    kit.monkeypatch.setattr("flows.plan.identity.examined", noted)
    assert finished(prepare(kit.recipe)) is not None
    assert set(loaded) == {"maker", "seer", "plain"}
    kit.update("9.9")
    assert finished(prepare(kit.recipe)) is not None
    assert set(loaded) == {"maker", "seer", "plain", "pixels"}


@pytest.mark.parametrize("kit", ["made"], indirect=True)
def test_a_dump_that_was_stopped_does_not_go_on_with_another_forward_pass(kit: Kit, here):
    root = kit.folder / "root"
    group = zarr.open_group(root / "activations/seer.zarr", mode="r+")
    group.attrs["complete"] = False
    layout.written_of(group)[:] = False
    (kit.folder / "table.toml").write_text(kit.text)
    kept = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    kit.edit("table_zoo.py", ("images * 1.0", "images * 1.1"))
    refused = here("mine", kit.folder / "table.toml")
    assert refused.returncode == 2
    assert f"activations/seer.zarr was made from something else (model.{MAPS} differ: body.1, body.3)" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == kept
    kit.edit("table_zoo.py", ("images * 1.1", "images * 1.0"))
    assert prepare(kit.recipe).fingerprint(ACTIVATIONS, kit.recipe.models[1].name).digest == group.attrs["fingerprint"]

"""Inversions and edits from the shell where the generator makes images of classes."""

import shutil
import sys

import numpy as np
import pytest
import torch
import xarray as xr
from command import refused
from PIL import Image

from rosetta import zoo
from rosetta.model_spec import ModelSpec
from storage.filesystem.root import Root
from storage.upkeep.check import check_root
from tasks.guided.inputs import NEW

pytestmark = pytest.mark.slow

OWN = '''
import torch
from torch import nn


class Mapping(nn.Module):
    def __init__(self):
        super().__init__()
        self.known = nn.Embedding(3, 8)
        self.dense = nn.Linear(16, 8)

    def forward(self, latents, classes):
        return torch.tanh(self.dense(torch.cat([latents, self.known(classes)], 1)))[:, None].repeat(1, 2, 1)


class Synthesis(nn.Module):
    def __init__(self):
        super().__init__()
        self.start = nn.Linear(8, 8 * 16)
        self.grow = nn.ConvTranspose2d(8, 8, 8, 4, 2)
        self.scale = nn.Linear(8, 8)
        self.colours = nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, styles):
        maps = torch.tanh(self.start(styles[:, 0])).view(-1, 8, 4, 4)
        maps = torch.tanh(self.grow(maps) * (1 + self.scale(styles[:, 1]))[:, :, None, None])
        return torch.tanh(self.colours(maps))


class Maker(nn.Module):
    """Images of 16 x 16 of three classes."""

    latent, classes, image_size = 8, 3, (16, 16)
    default_layers = ("synthesis.grow", "synthesis.colours")

    def __init__(self):
        super().__init__()
        self.mapping, self.synthesis = Mapping(), Synthesis()
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.mul_(2)

    def forward(self, latents, classes):
        return self.synthesis(self.mapping(latents, classes))


class Seer(nn.Module):
    image_size = (16, 16)
    default_layers = ("first", "second")

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, 1, 1)
        self.second = nn.Conv2d(6, 8, 3, 2, 1)

    def forward(self, images):
        return self.second(torch.tanh(self.first(images)))
'''


@pytest.fixture(scope="module")
def own(rosetta, tmp_path_factory):
    """The command, with the models above to import; and a folder."""
    folder = tmp_path_factory.mktemp("classes")
    (folder / "labelled_zoo.py").write_text(OWN)
    path = f"{rosetta.environment['PYTHONPATH']}:{folder}"
    sys.path.insert(0, str(folder))
    # Networks this small only wait for one another on several threads.
    yield type(rosetta)({**rosetta.environment, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}), folder
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def mined(own):
    """A run of a conditional generator and one discriminative model."""
    command, folder = own
    recipe = folder / "labelled.toml"
    recipe.write_text(
        f'name = "labelled"\nroot = "{folder}/root"\n[images]\ncount = 24\n'
        '[[models]]\nname = "maker"\nmodel = "python:labelled_zoo:Maker"\nweights = "random:0"\n'
        '[[models]]\nname = "seer"\nmodel = "python:labelled_zoo:Seer"\nweights = "random:0"\n'
    )
    command.json("mine", recipe)
    return folder / "root"


@pytest.fixture(scope="module")
def maker():
    """The generator of the run."""
    return zoo.load(ModelSpec(name="maker", model="python:labelled_zoo:Maker", weights="random:0"))


@pytest.fixture(scope="module")
def picture(own, mined, maker):
    """A file with an image of class 2."""
    images, _ = maker.generate(torch.from_numpy(maker.draw_latents(range(1), 77)), torch.tensor([2]))
    pixels = images[0].permute(1, 2, 0).mul(255).round().byte().numpy()
    Image.fromarray(pixels).save(own[1] / "cat.png")
    return own[1] / "cat.png"


def _remade(maker, found, latents="latent"):
    """(image, y, x, rgb) made again from what a store holds, and nothing else."""
    points, classes = torch.from_numpy(found[latents].values[0]), torch.from_numpy(found["class"].values)
    if "z" in found["latent"].dims:
        images, _ = maker.generate(points, classes)
    else:
        with torch.no_grad():
            images, _ = maker.synthesise_styles(points[:, None].expand(-1, 2, -1))
    return images.clamp(0, 1).mul(255).round().permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("space", ["z", "w"])
def test_an_inversion_keeps_the_classes_and_its_results_can_be_made_again(own, mined, maker, picture, here, space):
    words = ("invert", mined, "3:5", "new:2", picture, "--space", space, "--name", f"in-{space}", "--batch", "2")
    own[0].json(*words, "--class", "2", "--steps", "150", "--restarts", "4", "--rate", "0.1")
    found = xr.open_zarr(mined / f"inversions/in-{space}/result.zarr").load()
    assert found["class"].dims == ("image",)
    run = xr.open_zarr(mined / "images.zarr").load()
    drawn = maker.draw_classes(range(2), NEW)
    assert found["class"].values.tolist() == [*run["class"].values[3:5], *drawn, 2]
    np.testing.assert_array_equal(found["target"].values[:2], run["pixels"].values[3:5])
    for latents, frame in (("latent", -1), ("start", 0)):
        apart = np.abs(_remade(maker, found, latents) - found["frames"].values[0, :, frame])
        assert apart.max() <= 1
    # The file is an image of its class, so it is found again.
    assert np.abs(found["result"].values[0, 4].astype(int) - found["target"].values[4]).mean() < 6
    assert "cat.png, class 2" in (mined / f"inversions/in-{space}/index.html").read_text()
    again = (*words, "--steps", "150", "--restarts", "4", "--rate", "0.1", "--class", "1")
    refused(here(*again), f"inversions/in-{space} is in use", "classes: [", ", 2] → [", ", 1]", "--replace")


def test_a_concept_from_nothing_needs_a_class_too(own, mined):
    own[0].json("invert", mined, "--concepts", "0", "--high", "0,0,0.5,1", "--class", "1", "--steps", "5")
    found = xr.open_zarr(mined / "inversions/inversion/result.zarr").load()
    assert (found["class"].values.tolist(), found["source"].values.tolist()) == ([1], ["asked"])


def test_edits_start_at_the_images_of_their_classes(own, mined, maker, picture):
    words = ("--image", "0:3", "new:1", picture, "--class", "2", "--shift", "0.25,0", "--join", f"{picture}@x=0.5")
    done = own[0].json("edit", mined, *words, "--steps", "20")
    assert {stage["outcome"] for stage in done["stages"]} == {"done"}
    found = xr.open_zarr(mined / "edits/edit/result.zarr").load()
    run = xr.open_zarr(mined / "images.zarr").load()
    assert found["class"].values.tolist() == [*run["class"].values[:3], *maker.draw_classes(range(1), NEW), 2]
    np.testing.assert_array_equal(found["start"].values[0, :3], run["latent"].values[:3])
    # Images of the generator begin at themselves, the file near itself.
    apart = np.abs(found["frames"].values[0, :, 0].astype(int) - found["target"].values)
    assert apart[:4].max() <= 1
    assert apart[4].mean() < 10
    assert np.abs(_remade(maker, found) - found["result"].values[0]).max() <= 1
    asked = found["loss"].sel(term="edit").values[0]
    assert (asked[:, -1] > asked[:, 0]).all()
    assert check_root(Root(str(mined))) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["invert", "FILE"], ["cat.png'", "the generator 'maker' makes images of 3 classes; say which with --class"]),
        (["edit", "--image", "FILE", "--shift", "0.1,0"], ["cat.png'", "3 classes", "--class"]),
        (["edit", "--image", "0", "--join", "FILE@x=0.5"], ["cat.png'", "3 classes", "--class"]),
        (["invert", "--table", "FILE"], ["cat.png'", "3 classes", "--class"]),
        (["invert", "--concepts", "0", "--high", "0,0,1,1"], ["high '0,0,1,1'", "3 classes", "--class"]),
        (["invert", "FILE", "--class", "3"], ["--class 3", "'maker' are 0 to 2"]),
        (["edit", "--image", "FILE", "--shift", "0.1,0", "--class", "3"], ["--class 3", "0 to 2"]),
        (["invert", "FILE", "--class", "-1"], ["class", "-1"]),
        (["invert", "FILE", "--class", "cat"], ["class", "cat"]),
        (["invert", "0", "new:2", "--class", "1"], ["--class 1 is for files", "leave it out"]),
        (["edit", "--image", "0", "--shift", "0.1,0", "--class", "1"], ["--class 1 is for files"]),
    ],
)
def test_one_line_and_nothing_written(mined, here, picture, tmp_path, arguments, words):
    root = tmp_path / "root"
    shutil.copytree(mined, root, ignore=shutil.ignore_patterns("inversions", "edits"))
    command, *rest = (argument.replace("FILE", str(picture)) for argument in arguments)
    refused(here(command, root, *rest), *words)
    assert not (root / "inversions").exists()
    assert not (root / "edits").exists()

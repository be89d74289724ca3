"""What a user can get wrong with inversions and edits: one line, exit 2, nothing written."""

import shutil

import numpy as np
import pytest
import tinyzoo
from command import refused
from PIL import Image

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(run, tmp_path_factory):
    """A copy of the small run that may be written to."""
    root = tmp_path_factory.mktemp("guided") / "root"
    shutil.copytree(run[0], root)
    return root


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["invert"], ["no image is named"]),
        (["invert", "24"], ["'24'", "0 to 23"]),
        (["invert", "5:3"], ["'5:3'"]),
        (["invert", "nowhere/*.png"], ["nowhere/*.png", "No such file"]),
        (["invert", "new:0"], ["new:0", "how many"]),
        (["invert", "0", "--beta", "-1"], ["beta", "-1"]),
        (["invert", "0", "--alpha", "-0.5"], ["alpha", "-0.5"]),
        (["invert", "0", "--rec", "vgg"], ["'vgg'", "pixels", "lite0"]),
        (["invert", "0", "--rec", "none", "--beta", "0"], ["nothing to optimise"]),
        (["invert", "0", "--models", "resnet"], ["'resnet'", "lite0, mobilenet"]),
        (["invert", "0", "--concepts", "999"], ["concept 999", "its concepts are 0 to"]),
        (["invert", "0", "--starts", "far"], ["starts", "'far'"]),
        (["invert", "0", "--starts", "nearest", "--start-count", "25"], ["25", "maps of 24", "--start-count"]),
        (["invert", "0", "--starts", "mixed"], ["mixed takes at least 3"]),
        (["invert", "0", "--starts", "mean", "--restarts", "2"], ["mean is one start"]),
        (["invert", "0", "--restarts", "4", "--start-count", "2"], ["start_count is below restarts"]),
        (["invert", "0", "--space", "w"], ["no latent space 'w'"]),
        (["invert", "0", "--space", "v"], ["space", "'v'"]),
        (["invert", "0", "--above", "0.999"], ["no buddies are left"]),
        (["invert", "0", "--lpips", "alex"], ["'alex'", "alex:"]),
        (["invert", "0", "--lpips", "alex:missing.pth"], ["missing.pth"]),
        (["invert", "0", "--high", "0,0,1,1"], ["high"]),
        (["invert", "--concepts", "0", "--high", "0,0,1.5,1"], ["box 0,0,1.5,1", "fractions"]),
        (["invert", "0", "--name", "../up"], ["'../up'", "no valid name"]),
        (["invert", "0", "--steps", "0"], ["steps"]),
        (["invert", "0", "--class", "3"], ["--class 3", "'dcgan' knows no classes"]),
        (["edit", "--image", "0", "--shift", "0.1,0", "--class", "3"], ["--class 3", "'dcgan' knows no classes"]),
        (["edit", "--image", "0"], ["no edit is given"]),
        (["edit", "--image", "0", "--shift", "0.1"], ["--shift '0.1'", "DX,DY"]),
        (["edit", "--image", "0", "--shift", "1.5,0"], ["shift 1.5,0"]),
        (["edit", "--image", "0", "--remove", "999"], ["concept 999"]),
        (["edit", "--image", "0", "--add", "0"], ["--add '0'", "does not say where"]),
        (["edit", "--image", "0", "--add", "0@0.5,0.5,0.2,0.9"], ["box 0.5,0.5,0.2,0.9"]),
        (["edit", "--image", "0", "--copy", "0,0,0.5,0.5"], ["--paste"]),
        (["edit", "--image", "0", "--join", "99@x=0.5"], ["'99'", "0 to 23"]),
        (["edit", "--image", "0", "--zoom", "0"], ["zoom 0"]),
        (["edit", "--image", "0", "--shift", "0.1,0", "--near", "-1"], ["near", "-1"]),
    ],
)
def test_one_line_and_nothing_written(place, here, arguments, words):
    command, *rest = arguments
    refused(here(command, place, *rest), *words)
    assert not (place / "inversions").exists()
    assert not (place / "edits").exists()


def test_a_file_that_is_no_image(place, here, tmp_path):
    text = tmp_path / "notes.png"
    text.write_text("no picture")
    refused(here("invert", place, text), "notes.png", "not an image")
    refused(here("edit", place, "--image", text, "--shift", "0.1,0"), "notes.png", "not an image")


def test_no_run(here, tmp_path):
    refused(here("invert", tmp_path, "0"), "holds no run")


def test_a_run_without_a_generator(tiny, tmp_path):
    for index in range(4):
        pixels = np.random.default_rng(index).integers(0, 256, (40, 40, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
    recipe = tmp_path / "photos.toml"
    recipe.write_text(tinyzoo.recipe_text(tmp_path / "root", ("ada", "bob"), f'source = "{tmp_path}/*.png"', count=0))
    tiny.json("mine", recipe)
    refused(tiny("invert", tmp_path / "root", "0"), "has no generator")
    refused(tiny("edit", tmp_path / "root", "--image", "0", "--shift", "0.1,0"), "has no generator")


def test_a_name_in_use(run, rosetta, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(run[0], root)
    rosetta.json("invert", root, "0", "--steps", "3")
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    refused(rosetta("invert", root, "0", "--steps", "4"), "inversions/inversion is in use", "steps", "--replace")
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
    replaced = rosetta.json("invert", root, "0", "--steps", "4", "--replace")
    assert {stage["outcome"] for stage in replaced["stages"]} == {"done"}

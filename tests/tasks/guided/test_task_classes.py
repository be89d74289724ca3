"""The classes that a search takes for images: their own, given, or the recipe's only one."""

import hashlib
import re

import finished
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from rosetta import zoo
from rosetta.errors import UserError
from rosetta.model_spec import Condition, ModelSpec
from storage.run.data import RunData
from tasks.guided.inputs import (
    NEW,
    Inputs,
    class_of,
    class_tensor,
    new_images,
    read_inputs,
    require_class,
    require_files,
)


class Blot(nn.Module):
    """A conditional generator: one colour, of z and the class."""

    latent, classes, image_size = 3, 4, (8, 8)
    default_layers = ("spread",)

    def __init__(self):
        super().__init__()
        self.known = nn.Embedding(4, 3)
        self.spread = nn.ConvTranspose2d(3, 3, 8)

    def forward(self, latents, classes):
        return torch.tanh(self.spread((latents + self.known(classes))[:, :, None, None]))


class Plain(Blot):
    """The same without classes."""

    classes = None

    def forward(self, latents):
        return super().forward(latents, torch.zeros(len(latents), dtype=torch.int64))


def load(name="Blot", **condition):
    spec = ModelSpec(
        name="blot", model=f"python:{__name__}:{name}", weights="random:0", condition=Condition(**condition)
    )
    return zoo.load(spec)


@pytest.mark.parametrize(
    ("named", "given", "found"),
    [(None, 2, 2), ((1,), None, 1), ((1, 1), None, 1), ((1,), 3, 3), ((0, 1), 3, 3), ((0,), 0, 0)],
)
def test_what_is_given_comes_before_what_the_recipe_names(named, given, found):
    assert class_of(load(classes=named), "image 'cat.jpg'", given) == found


@pytest.mark.parametrize("named", [None, (0, 1), (2, 3, 2)])
def test_where_no_single_class_is_named_one_must_be_given(named):
    line = "image 'cat.jpg': the generator 'blot' makes images of 4 classes; say which with --class"
    with pytest.raises(UserError, match=f"^{re.escape(line)}$"):
        class_of(load(classes=named), "image 'cat.jpg'", None)


def test_a_generator_without_classes_takes_none():
    model = load("Plain")
    assert class_of(model, "image 'cat.jpg'", None) is None
    require_class(model, None)
    with pytest.raises(UserError, match=r"^--class 0: the generator 'blot' knows no classes; leave it out$"):
        require_class(model, 0)
    assert new_images(model, 3, 0).classes is None
    assert class_tensor(None) is None


def test_a_class_must_be_one_of_the_generators():
    require_class(load(), 3)
    with pytest.raises(UserError, match=r"^--class 4: the classes of the generator 'blot' are 0 to 3$"):
        require_class(load(), 4)


def test_new_images_and_files_carry_their_classes(tmp_path):
    model = load()
    for name in ("a", "b"):
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)).save(tmp_path / f"{name}.png")
    run = RunData.open(finished.write(tmp_path / "run"))
    found = read_inputs(run, model, ["new:3", f"{tmp_path}/*.png", "new:1"], 2)
    drawn = model.draw_classes(range(3), run.recipe.images.seed + NEW)
    assert found.classes.tolist() == [*drawn, 2, 2, drawn[0]]
    assert found.files.tolist() == [False, False, False, True, True, False]
    made, _ = model.generate(torch.from_numpy(found.latents[:3]), class_tensor(found.classes[:3]))
    np.testing.assert_array_equal(found.pixels[:3], made.mul(255).round().byte().permute(0, 2, 3, 1))
    require_files([new_images(model, 1, 0), found], 2)
    with pytest.raises(UserError, match=r"^--class 2 is for files, and no file is named; leave it out$"):
        require_files([new_images(model, 1, 0)], 2)


def test_the_digest_tells_classes_apart_and_leaves_the_old_one_where_there_are_none():
    pixels, latents = np.arange(24, dtype=np.uint8).reshape(1, 2, 4, 3), np.zeros((1, 3), np.float32)
    of = [Inputs(("a",), pixels, latents, classes).sha256 for classes in (None, np.array([0]), np.array([1]))]
    assert len(set(of)) == 3
    assert of[0] == hashlib.sha256(pixels.tobytes()).hexdigest()

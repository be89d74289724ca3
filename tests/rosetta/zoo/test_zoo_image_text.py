"""Models of images and texts: OpenCLIP's against the library's own, and a user's."""

import sys

import numpy as np
import open_clip
import pytest
import torch
import toy_clip
from torch.nn import functional as F

from rosetta.errors import UserError
from rosetta.zoo.image_text import load_image_text

TEXT = {"context_length": 20, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
TINY = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 48, "head_width": 16, "patch_size": 16},
    "text_cfg": TEXT,
}
TEXTS = ["a photo of a dog", "a photo of a marble", "x"]


@pytest.fixture
def tiny(monkeypatch):
    """A small model among those that the library knows."""
    configs = sys.modules["open_clip.factory"]._MODEL_CONFIGS
    monkeypatch.setitem(configs, "tiny", TINY)


def reference(seed):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return open_clip.create_model("tiny").eval()


def pixels():
    return np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("source", ["random", "file"])
def test_embeddings_are_those_of_the_library(tmp_path, source):
    whole = reference(3)
    weights = "random:3"
    if source == "file":
        weights = str(tmp_path / "clip.pt")
        torch.save({"state_dict": {f"module.{name}": value for name, value in whole.state_dict().items()}}, weights)
    model = load_image_text("open_clip/tiny", weights, "cpu")
    colours = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
    mean, std = (torch.tensor(values)[:, None, None] for values in colours)
    images = (torch.from_numpy(pixels()).permute(0, 3, 1, 2) / 255 - mean) / std
    with torch.inference_mode():
        seen = F.normalize(whole.encode_image(images), dim=-1)
        read = F.normalize(whole.encode_text(open_clip.get_tokenizer("tiny")(TEXTS)), dim=-1)
    np.testing.assert_allclose(model.images(pixels()), seen, atol=1e-5)
    np.testing.assert_allclose(model.texts(TEXTS), read, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(model.texts(TEXTS), axis=1), 1, rtol=1e-5)


@pytest.mark.usefixtures("tiny")
def test_tokens_are_counted_beyond_the_context():
    model = load_image_text("open_clip/tiny", "random:0", "cpu")
    assert model.context == 20
    assert model.tokens(["dog", "a dog", ""]).tolist() == [3, 4, 2]
    assert model.texts([]).shape == (0, 24)
    assert model.tokens(["dog " * 18, "dog " * 19]).tolist() == [20, 21]
    assert (model.tokens(["dog " * 200]) > 20).all()


@pytest.mark.usefixtures("tiny")
def test_a_file_without_a_text_tower_is_refused(tmp_path):
    whole = reference(0).state_dict()
    kinds = {
        "hold no text tower": {name: value for name, value in whole.items() if name.startswith("visual.")},
        "do not fit": {name: value for name, value in whole.items() if not name.startswith("visual.")},
    }
    for number, (message, state) in enumerate(kinds.items()):
        torch.save(state, tmp_path / f"{number}.pt")
        with pytest.raises(UserError, match=message) as caught:
            load_image_text("open_clip/tiny", str(tmp_path / f"{number}.pt"), "cpu")
        assert "\n" not in str(caught.value)


def test_a_model_of_the_users_own():
    model = load_image_text("python:toy_clip:agreeing", "random:0", "cpu")
    colours = np.array([*toy_clip.COLOURS.values()], np.uint8)[:, None, None]
    similar = model.images(np.broadcast_to(colours, (8, 32, 32, 3)).copy()) @ model.texts(list(toy_clip.COLOURS)).T
    assert similar.argmax(axis=1).tolist() == list(range(8))
    assert model.tokens(["red"]).tolist() == [4]


def test_towers_that_give_no_numbers_are_refused(monkeypatch):
    model = load_image_text("python:toy_clip:agreeing", "random:0", "cpu")
    monkeypatch.setattr(model.module, "encode_text", lambda tokens: torch.full((len(tokens), 4), float("nan")))
    with pytest.raises(UserError, match="gives NaN or infinity"):
        model.texts(["red"])
    monkeypatch.setattr(model.module, "encode_text", lambda tokens: tokens.float()[None])
    with pytest.raises(UserError, match="return one row for each"):
        model.texts(["red"])

"""Models that label each position, against torchvision's own."""

import numpy as np
import pytest
import torch
import toy_clip
from torch import nn
from torch.nn import functional as F
from torchvision import models

from rosetta.errors import UserError
from rosetta.zoo.segmentation import is_segmenter, load_segmenter

NAME = "lraspp_mobilenet_v3_large"


def pixels(side=48):
    return np.random.default_rng(0).integers(0, 256, (2, side, side, 3), dtype=np.uint8)


def built(name, seed, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return models.get_model(name, weights=None, weights_backbone=None, **options).eval()


@pytest.mark.parametrize("source", ["random", "file"])
def test_labels_are_those_of_the_library(tmp_path, source):
    whole = built(NAME, 4)
    weights = "random:4"
    if source == "file":
        weights = str(tmp_path / "weights.pth")
        torch.save(whole.state_dict(), weights)
    model = load_segmenter(f"torchvision/{NAME}", weights, "cpu")
    assert model.categories[:2] == ("__background__", "aeroplane")
    prepare = models.get_model_weights(NAME).DEFAULT.transforms(antialias=True)
    with torch.inference_mode():
        scores = whole(prepare(torch.from_numpy(pixels()).permute(0, 3, 1, 2)))["out"]
        fine = F.interpolate(scores, (48, 48), mode="bilinear", align_corners=False)
    assert (model.labels(pixels()) == fine.argmax(1).numpy()).mean() > 0.98  # the library rounds resized images


def test_a_file_with_an_auxiliary_classifier_loads(tmp_path):
    name = "deeplabv3_mobilenet_v3_large"
    whole = built(name, 1, aux_loss=True)
    torch.save(whole.state_dict(), tmp_path / "weights.pth")
    loaded = load_segmenter(f"torchvision/{name}", str(tmp_path / "weights.pth"), "cpu").module.state_dict()
    assert loaded.keys() == whole.state_dict().keys()
    torch.save(nn.Linear(2, 3).state_dict(), tmp_path / "other.pth")
    with pytest.raises(UserError, match="do not fit torchvision/deeplabv3"):
        load_segmenter(f"torchvision/{name}", str(tmp_path / "other.pth"), "cpu")


def test_a_model_of_the_users_own():
    model = load_segmenter("python:toy_clip:segmenter", "pretrained", "cpu")
    colours = np.array([*toy_clip.COLOURS.values()], np.uint8)[:, None, None]
    labels = model.labels(np.broadcast_to(colours, (8, 12, 20, 3)).copy())
    np.testing.assert_array_equal(labels, np.broadcast_to(np.arange(8)[:, None, None], (8, 12, 20)))


def test_what_is_no_segmentation_model(monkeypatch):
    model = load_segmenter("python:toy_clip:segmenter", "random:0", "cpu")
    monkeypatch.setattr(model.module, "forward", lambda images: images.mean(dim=(2, 3)))
    with pytest.raises(UserError, match="gives no scores"):
        model.labels(pixels())
    monkeypatch.setattr(model.module, "forward", lambda images: {"out": images})
    with pytest.raises(UserError, match="scores 3 classes and names 9; give --legend"):
        model.labels(pixels())
    with pytest.raises(UserError, match="no segmentation model 'resnet18'"):
        load_segmenter("torchvision/resnet18", "random:0", "cpu")


def test_which_names_are_models():
    assert is_segmenter("torchvision/fcn_resnet50")
    assert is_segmenter("python:mine:build")
    assert not is_segmenter("masks/of/mine")

"""Families, names, devices."""

from collections.abc import Callable

import pytest

from rosetta import zoo
from rosetta.errors import UserError
from rosetta.model_spec import ModelSpec

Spec = Callable[..., ModelSpec]


def test_families_and_names() -> None:
    assert list(zoo.families()) == [
        "dcgan",
        "stylegan2",
        "stylegan3",
        "styleganxl",
        "biggan",
        "pmf",
        "diffusers",
        "torchvision",
        "timm",
        "dino",
        "open_clip",
        "transformers",
        "pixels",
        "python",
    ]
    assert all("\n" not in line for line in zoo.families().values())
    assert zoo.names("dcgan") == ["digiface"]
    assert "tf_efficientnet_lite0" in zoo.names("timm")
    assert "mobilenet_v2" in zoo.names("torchvision")
    assert "fasterrcnn_resnet50_fpn" not in zoo.names("torchvision")
    assert zoo.names("python") == []
    with pytest.raises(UserError, match="did you mean 'timm'"):
        zoo.names("tim")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("tim/resnet18", "unknown model family 'tim'; did you mean 'timm'"),
        ("diffusion/x", r"unknown model family 'diffusion'.*\(there are dcgan, stylegan2"),
        ("resnet18", "neither <family>/<name>"),
        ("timm/", "neither <family>/<name>"),
        ("python/x", "nor python:<module>:<factory>"),
        ("dcgan/digifaces", "did you mean 'digiface'"),
        ("timm/resnet_18", "timm has no model 'resnet_18'; did you mean .*'resnet18'"),
        ("timm/resnet18.no_tag", "no tag 'no_tag'"),
        ("torchvision/resnet-18", "did you mean .*'resnet18'"),
    ],
)
def test_unknown_models(spec: Spec, model: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        zoo.load(spec(model))


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_no_such_device(spec: Spec, device: str) -> None:
    with pytest.raises(UserError, match=f"device '{device}' cannot be used.*compute.device"):
        zoo.load(spec("dcgan/digiface"), device)


def test_unknown_layer(spec: Spec) -> None:
    with pytest.raises(UserError, match=r"no module matches the layer 'main\.99'; did you mean 'main\.9'"):
        zoo.load(spec("dcgan/digiface", layers=["main.99"]))

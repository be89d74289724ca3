"""A model's layers without its weights are those that it has when loaded."""

from collections.abc import Callable

import pytest

from rosetta import zoo
from rosetta.errors import UserError
from rosetta.recipe import ModelSpec
from rosetta.zoo.families.python import PythonFactory

Spec = Callable[..., ModelSpec]


@pytest.mark.parametrize(
    ("model", "layers"),
    [
        ("dcgan/digiface", None),
        ("timm/test_vit2", None),
        ("timm/tf_efficientnet_lite0", ("blocks.?", "conv_head")),
        ("torchvision/mobilenet_v2", None),
        ("dino/resnet50", None),
        ("open_clip/ViT-S-32", None),
        ("pixels/32", None),
    ],
)
def test_as_loaded(spec: Spec, model: str, layers: tuple[str, ...] | None) -> None:
    loaded = zoo.load(spec(model, layers=layers, weights="random:0")).units
    assert zoo.structure(spec(model, layers=layers, weights="no/such/file.pth")) == loaded
    assert zoo.structure(spec(model, layers=layers, weights="pretrained")) == loaded


def test_nothing_is_loaded_where_shapes_will_do(spec: Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("weights were read")

    monkeypatch.setattr("rosetta.zoo.files.read_entries", never)
    assert len(zoo.structure(spec("timm/vit_base_patch16_224.mae", weights="pretrained"))) == 36_864


def test_what_needs_its_weights_is_loaded(spec: Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    build = PythonFactory.build

    def counted(self: PythonFactory, *given: object) -> object:
        built.append(given)
        if len(built) == 1:
            raise RuntimeError("not without values")
        return build(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(PythonFactory, "build", counted)
    assert len(zoo.structure(spec("python:torchvision.models:resnet18", weights="random:0"))) == 1024
    assert len(built) == 2


def test_what_is_wrong_is_said(spec: Spec) -> None:
    with pytest.raises(UserError, match="did you mean 'resnet18'"):
        zoo.structure(spec("torchvision/resnet_18"))
    with pytest.raises(UserError, match="nope"):
        zoo.structure(spec("timm/test_resnet", weights="random:0", layers=("nope",)))


def test_what_libraries_fetch(spec: Spec) -> None:
    assert zoo.is_fetched(spec("timm/test_resnet", weights="pretrained"))
    assert not zoo.is_fetched(spec("timm/test_resnet", weights="random:0"))
    assert not zoo.is_fetched(spec("pixels/32", weights="pretrained"))

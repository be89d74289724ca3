"""A model's layers without its weights are those that it has when loaded."""

from collections.abc import Callable
from functools import partial
from importlib import import_module

import pytest
from torch import Tensor, nn

from rosetta import zoo
from rosetta.errors import UserError
from rosetta.model_spec import Condition, ModelSpec
from rosetta.zoo.families.python import PythonFactory
from rosetta.zoo.model import Model

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


@pytest.mark.parametrize(
    "model",
    [
        "dcgan/digiface",
        "stylegan2/celebahq-256",
        "stylegan3/t-ffhqu-256",
        "styleganxl/imagenet-16",
        "biggan/deep-128",
        "diffusers/ddpm-cifar10-32",
        "torchvision/inception_v3",
        "torchvision/swin_t",
        "timm/test_byobnet",
        "timm/test_efficientnet_evos",
        "timm/test_vit3",
        "timm/pvt_v2_b0",
        "timm/levit_128s",
        "dino/resnet50",
        "open_clip/ViT-S-32",
        "open_clip/RN50",
        "pixels/64",
        "python:torchvision.models:squeezenet1_1",
    ],
)
def test_an_outline_says_what_the_model_itself_says(spec: Spec, model: str) -> None:
    # Made first: what a library keeps of it, a filter without values say, may not get into the model itself.
    outline = zoo.outline(spec(model, weights="random:0"))
    assert outline is not None
    assert all(tensor.is_meta for tensor in outline.module.state_dict().values())
    itself = zoo.load(spec(model, weights="random:0"))
    assert not any(tensor.is_meta for tensor in [*itself.module.parameters(), *itself.module.buffers()])
    for told in ("units", "image_size", "prior", "classes", "indexed"):
        assert getattr(outline, told) == getattr(itself, told), told
    assert repr(outline.preprocessing) == repr(itself.preprocessing)


class Undecided(nn.Module):
    """Its path through itself depends on what it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 5, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        return self.body(images) if images.sum().item() < 0 else self.body(images) * 2


def undecided() -> nn.Module:
    return Undecided()


def test_a_model_that_asks_for_values_has_none(spec: Spec) -> None:
    model = spec(f"python:{__name__}:undecided", weights="random:0")
    assert zoo.outline(model) is None
    assert zoo.outline(model.model_copy(update={"layers": ("nope",)})) is None
    assert len(zoo.structure(model)) == 5


def test_layers_and_classes_that_are_not_there_are_said_without_running_it(
    spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The package has a function of that name.
    monkeypatch.setattr(import_module("rosetta.zoo.structure"), "load", partial(_on_meta_alone, zoo.load))
    with pytest.raises(UserError, match="no module matches the layer 'nope'"):
        zoo.structure(spec("stylegan3/r-ffhqu-1024", layers=("nope",), weights="random:0"))
    with pytest.raises(UserError, match="its classes are 0 to 999"):
        zoo.structure(spec("biggan/deep-128", condition=Condition(classes=(3, 1000)), weights="random:0"))


def _on_meta_alone(load: Callable[..., Model], spec: ModelSpec, device: str = "cpu") -> Model:
    assert device == "meta"
    return load(spec, device)


def test_nothing_is_loaded_where_shapes_will_do(spec: Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("weights were read")

    monkeypatch.setattr("rosetta.zoo.files.read_entries", never)
    assert len(zoo.structure(spec("timm/vit_base_patch16_224.mae", weights="pretrained"))) == 36_864


def test_what_needs_its_weights_is_loaded(spec: Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    construct = PythonFactory.construct

    def counted(self: PythonFactory, *given: object) -> object:
        built.append(given)
        if len(built) == 1:
            raise RuntimeError("not without values")
        return construct(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(PythonFactory, "construct", counted)
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

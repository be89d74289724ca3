"""Models that a user brings."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from rosetta import zoo
from rosetta.errors import UserError
from rosetta.model_spec import ModelSpec
from rosetta.zoo.weights.source import tensors_sha256

Spec = Callable[..., ModelSpec]
Factory = Callable[[Callable[[], object]], str]


class Painter(nn.Module):
    """A generator of oblong images."""

    latent = 8

    def __init__(self) -> None:
        super().__init__()
        self.start = nn.ConvTranspose2d(8, 6, (2, 3))
        self.grow = nn.Sequential(nn.ReLU(inplace=True), nn.ConvTranspose2d(6, 3, 4, 2, 1))

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.grow(self.start(latents[:, :, None, None])) * 9
        return result


def test_a_generator(spec: Spec, factory: Factory) -> None:
    model = zoo.load(spec(factory(Painter)))
    assert (model.latent, model.image_size, model.preprocessing) == (8, (4, 6), None)
    assert [(layer.name, layer.grid) for layer in model.units.layers] == [("grow.0", (2, 3)), ("grow.1", (4, 6))]
    images, maps = model.generate(torch.from_numpy(model.draw_latents(range(5), 0)))
    assert images.shape == (5, 3, 4, 6)
    assert images.min() == 0
    assert images.max() == 1
    torch.testing.assert_close(images, (maps["grow.1"] / 2 * 9 + 0.5).clamp(0, 1))


def test_attributes_are_honoured(spec: Spec, factory: Factory, tiny: type[nn.Module]) -> None:
    class Mine(tiny):  # type: ignore[misc, valid-type]
        default_layers = ("late", "st*")
        preprocessing = zoo.Preprocessing((20, 30), "nearest", (0.1, 0.2, 0.3), (1.0, 2.0, 3.0))

    model = zoo.load(spec(factory(Mine)))
    assert model.preprocessing == Mine.preprocessing
    assert [(layer.name, layer.grid) for layer in model.units.layers] == [("stem", (10, 15)), ("late", (5, 8))]


def test_defaults(spec: Spec, factory: Factory) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(2))
    model = zoo.load(spec(factory(lambda: net), "pretrained"))
    assert model.preprocessing is not None
    assert model.preprocessing.as_dict() == {
        "size": [224, 224],
        "interpolation": "bilinear",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    }
    assert zoo.Preprocessing.from_dict(model.preprocessing.as_dict()) == model.preprocessing
    assert [layer.name for layer in model.units.layers] == ["1", "2"]
    assert model.weights_sha256 == tensors_sha256(net) == zoo.weights_sha256(model.spec)


def test_weights_from_a_seed_and_from_a_file(
    spec: Spec, factory: Factory, tiny: type[nn.Module], tmp_path: Path
) -> None:
    text = factory(tiny)
    one, two = (zoo.load(spec(text, "random:1")) for _ in range(2))
    assert tensors_sha256(one.module) == tensors_sha256(two.module)
    torch.save(one.module.state_dict(), tmp_path / "tiny.pth")
    assert tensors_sha256(zoo.load(spec(text, str(tmp_path / "tiny.pth"))).module) == tensors_sha256(one.module)


def test_a_module_on_the_import_path(spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "zoo_test_mine.py").write_text("from torch import nn\ndef net(): return nn.Conv2d(3, 4, 3)\nx = 3\n")
    (tmp_path / "zoo_test_broken.py").write_text("1 / 0\n")
    (tmp_path / "zoo_test_needy.py").write_text("import zoo_test_absent\n")
    monkeypatch.syspath_prepend(tmp_path)
    for model, message in {
        "python:zoo_test_mine:net": "no module in it gives maps",  # a lone module has no modules inside
        "python:zoo_test_mine:nett": "has no 'nett'; did you mean 'net'",
        "python:zoo_test_mine:x": "'x' is a int, not a function",
        "python:zoo_test_mine": "incomplete",
        "python:zoo_test_broken:net": "importing 'zoo_test_broken' failed: ZeroDivisionError",
        "python:zoo_test_needy:net": "importing 'zoo_test_needy' failed: No module named 'zoo_test_absent'",
        "python:zoo_test_absent:net": "no module 'zoo_test_absent' to import; put its folder on PYTHONPATH",
    }.items():
        with pytest.raises(UserError, match=message):
            zoo.load(spec(model))


def _with(**attributes: Any) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        net = nn.Sequential(nn.Conv2d(3, 4, 3))
        for name, value in attributes.items():
            setattr(net, name, value)
        return net

    return make


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda: 3, "returned a int"),
        (lambda: 1 / 0, "failed: ZeroDivisionError"),
        (_with(latent="long"), "latent is 'long'"),
        (_with(latent=0), "latent is 0"),
        (_with(latent=4), "fails on latents of length 4"),
        (_with(image_size="big"), "image_size is 'big'"),
        (_with(num_prefix_tokens=-1), "num_prefix_tokens is -1"),
        (_with(token_grid="14"), r"token_grid is '14'; it must be \(rows, columns\)"),
        (_with(num_suffix_tokens=True), "num_suffix_tokens is True; it must be a whole number from 0"),
        (_with(batch_first=0), "batch_first is 0; it must be True or False"),
        (_with(map_layouts=[1]), r"map_layouts is \[1\]"),
        (_with(map_layouts={"conv": {}}), "map_layouts has 'conv', which is not a module"),
        (
            _with(map_layouts={"0": {"prefix": 1}}),
            r"map_layouts\['0'\] is .*; it must be a mapping with any of num",
        ),
        (_with(map_layouts={"0": {"token_grid": 0}}), r"map_layouts\['0'\]: token_grid is 0"),
        (_with(map_frames=3), "map_frames is 3"),
        (_with(map_frames={"conv": (0, 0, 1, 1)}), "map_frames has 'conv', which is not a module"),
        (_with(map_frames={"0": (0.1, 0, 1, 1)}), r"map_frames\['0'\] is \(0.1, 0, 1, 1\)"),
        (_with(map_frames={"0": "all"}), r"map_frames\['0'\] is 'all'"),
        (_with(map_frames={"0": (0, 0, 1, float("inf"))}), r"map_frames\['0'\]"),
        (_with(preprocessing=3), "preprocessing must be"),
        (_with(preprocessing={"size": [9, 9], "crop": 3}), "is not valid"),
        (_with(preprocessing={"size": [9, 9], "interpolation": "cubic"}), "interpolation 'cubic' is unknown"),
        (_with(default_layers=[1]), "default_layers"),
        (_with(default_layers="1"), "no module matches the layer '1'"),
        (lambda: nn.Sequential(nn.Conv2d(4, 4, 3)), "fails on an image of 224 × 224: RuntimeError"),
    ],
)
def test_what_a_factory_can_get_wrong(spec: Spec, factory: Factory, function: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        zoo.load(spec(factory(function)))


def test_a_generator_must_make_images(spec: Spec, factory: Factory) -> None:
    class Vector(nn.Module):
        latent = 8

        def forward(self, latents: torch.Tensor) -> torch.Tensor:
            return latents

    class Wrong(Painter):
        image_size = (6, 4)

    with pytest.raises(UserError, match="is a generator but gives \\(1, 8\\)"):
        zoo.load(spec(factory(Vector)))
    with pytest.raises(UserError, match="makes images of \\(4, 6\\), but its image_size says \\(6, 4\\)"):
        zoo.load(spec(factory(Wrong)))


def test_a_module_says_where_its_maps_lie(spec: Spec, factory: Factory) -> None:
    class Wide(nn.Module):
        image_size = (16, 8)
        default_layers = ("pad",)

        def __init__(self) -> None:
            super().__init__()
            self.pad = nn.ZeroPad2d((0, 0, 4, 8))
            self.map_frames = {"pad": (-0.25, 0, 1.5, 1)}

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.pad(images)
            return result

    model = zoo.load(spec(factory(Wide)))
    images = torch.rand(2, 3, 16, 8)
    assert model.preprocessing is not None
    assert model.units.layers[0].raw_grid == (28, 8)
    torch.testing.assert_close(model.observe(images)["pad"], model.preprocessing(images))


class Sequences(nn.Module):
    """Places before two tokens without one; then places alone, the image second."""

    image_size = (32, 16)
    num_prefix_tokens = 0
    num_suffix_tokens = 2
    token_grid = (8, 4)
    map_layouts: ClassVar = {"plain": {"batch_first": False, "num_suffix_tokens": 0}}
    default_layers = ("tail", "plain")

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 6, 4, 4)
        self.tail, self.plain = nn.Identity(), nn.Identity()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        self.tail(torch.cat([tokens, tokens[:, :2]], dim=1))
        return self.plain(tokens.transpose(0, 1))  # type: ignore[no-any-return]


def test_a_factory_says_how_its_sequences_are_read(spec: Spec, factory: Factory) -> None:
    model = zoo.load(spec(factory(Sequences), layers=["patches", "tail", "plain"]))
    maps = model.observe(torch.rand(3, 3, 32, 16))
    assert maps["patches"].shape == (3, 6, 8, 4)
    assert torch.equal(maps["tail"], maps["patches"])
    assert torch.equal(maps["plain"], maps["patches"])

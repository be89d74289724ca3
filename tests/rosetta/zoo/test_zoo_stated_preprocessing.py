"""What a recipe states of the preprocessing goes before what the family knows; what a file does not tell is said."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from rosetta import zoo
from rosetta.errors import UserError
from rosetta.model_spec import ModelSpec
from rosetta.recipe import parse_recipe
from rosetta.zoo import notes

Spec = Callable[..., ModelSpec]
Factory = Callable[[Callable[[], object]], str]

HALF = (0.5, 0.5, 0.5)
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
RECIPE = """
name = "n"
root = "r"
[[models]]
name = "a"
model = "timm/test_vit"
{}
[[models]]
name = "b"
model = "timm/test_vit"
"""
STATED = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6), "interpolation": "nearest", "size": (96, 128)}


@pytest.fixture(autouse=True)
def _said_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notes, "_said", set())


@pytest.mark.parametrize("model", ["timm/test_resnet", "timm/test_vit", "torchvision/squeezenet1_1", "dino/resnet50"])
@pytest.mark.parametrize("field", [*STATED, "all"])
def test_what_is_stated_goes_first(spec: Spec, model: str, field: str) -> None:
    stated = STATED if field == "all" else {field: STATED[field]}
    usual, changed = zoo.load(spec(model)), zoo.load(spec(model, **stated))
    assert usual.preprocessing is not None
    assert changed.preprocessing == replace(usual.preprocessing, **stated)
    grids = [layer.grid for layer in changed.units.layers]
    if "size" in stated:
        assert all(grid[1] * 3 // 4 in (grid[0], grid[0] - 1) for grid in grids)
    else:
        assert grids == [layer.grid for layer in usual.units.layers]


def test_colours_reach_the_network(spec: Spec) -> None:
    reached: list[Tensor] = []
    model = zoo.load(spec("timm/test_resnet", mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), size=64))
    model.module.register_forward_pre_hook(lambda _, given: reached.append(given[0]))
    images = torch.rand(2, 3, 64, 64)
    model.observe(images)
    mean, std = (torch.tensor(values)[:, None, None] for values in ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6)))
    torch.testing.assert_close(reached[0], (images - mean) / std)


@pytest.mark.parametrize("weights", ["random", "file", "file of that size"])
def test_a_transformer_of_another_size_is_timms_own(spec: Spec, tmp_path: Path, weights: str) -> None:
    own = timm.create_model("test_vit", img_size=(96, 128) if weights == "file of that size" else None)
    torch.save(own.state_dict(), tmp_path / "net.pth")
    model = zoo.load(
        spec("timm/test_vit", "random:0" if weights == "random" else str(tmp_path / "net.pth"), size=(96, 128))
    )
    assert {layer.grid for layer in model.units.layers} == {(6, 8)}
    if weights != "random":
        own.set_input_size(img_size=(96, 128))
        images = torch.rand(1, 3, 96, 128)
        assert model.preprocessing is not None
        with torch.inference_mode():
            wanted = own.eval().forward_features(model.preprocessing(images))
            seen = model.module.forward_features(model.preprocessing(images))  # type: ignore[operator]
        torch.testing.assert_close(seen, wanted)


@pytest.mark.parametrize(
    ("model", "stated", "message"),
    [
        ("timm/test_vit", {"size": 100}, r"\(timm/test_vit\) (cannot take|fails on an image of) .*100"),
        (
            "torchvision/vit_b_16",
            {"size": 250},
            r"cannot build 'vit_b_16' for images of 250 × 250: .*indivisible by patch size",
        ),
        ("dcgan/digiface", {"mean": HALF}, "dcgan/digiface makes images and takes no mean; remove it"),
        ("dcgan/digiface", {"size": 64}, "makes images and takes no size; remove it"),
        ("pixels/32", {"std": HALF}, "pixels/32 looks at the pixels as they are and takes no std; remove it"),
        ("pixels/32", {"interpolation": "nearest"}, "takes no interpolation"),
    ],
)
def test_what_cannot_be_stated(spec: Spec, model: str, stated: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        zoo.load(spec(model, **stated))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("mean = [0.5, 0.5]", r"models.*mean"),
        ("mean = 0.5", r"models.*mean"),
        ('mean = ["a", 0.5, 0.5]', r"models.*mean"),
        ("std = [0.0, 0.5, 0.5]", r"models.*std"),
        ("std = [nan, 0.5, 0.5]", r"models.*std"),
        ("mean = [inf, 0.5, 0.5]", r"models.*mean"),
        ("mean = [124.0, 117.0, 104.0]", r"models.*mean"),  # on the scale 0 to 255
        ("size = 0", r"models.*size"),
        ("size = true", r"models.*size"),
        ("size = [224]", r"models.*size"),
        ("size = [224, 224, 3]", r"models.*size"),
        ("size = 22.5", r"models.*size"),
        ('interpolation = "lanczos"', r"models.*interpolation"),
        ("means = [0.5, 0.5, 0.5]", r"did you mean .*'mean'"),
    ],
)
def test_a_recipe_is_checked(line: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        parse_recipe(RECIPE.format(line), "r.toml")
    assert "\n" not in str(caught.value)


def test_a_recipe_keeps_what_it_states_and_nothing_else() -> None:
    stated = 'mean = [0.5, 0.5, 0.5]\nstd = [0.5, 0.5, 0.5]\nsize = 96\ninterpolation = "bilinear"'
    first, second = parse_recipe(RECIPE.format(stated), "r.toml").models
    assert first.preprocessing == {"mean": HALF, "std": HALF, "size": (96, 96), "interpolation": "bilinear"}
    assert second.preprocessing == {}
    again = parse_recipe(parse_recipe(RECIPE.format(stated), "r.toml").to_toml(), "again.toml")
    assert again.models[0] == first
    plain = parse_recipe(RECIPE.format(""), "r.toml").to_toml()
    # As it was before there were such keys.
    assert [word for word in re.findall(r"^\w+", plain, re.MULTILINE) if word in STATED] == []


def _google(name: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module: nn.Module = torchvision.models.get_model(name, weights=None, init_weights=False, transform_input=True)
    return module.eval()


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_googles_networks_see_the_colours_that_torchvision_shows_them(
    spec: Spec, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """The library builds a network of published weights with `transform_input`, and so does a file here."""
    caplog.set_level("INFO", "rosetta")
    published, file = _google(name), str(tmp_path / "net.pth")
    torch.save(published.state_dict(), file)
    model = zoo.load(spec(f"torchvision/{name}", file))
    assert model.preprocessing is not None
    assert (model.preprocessing.mean, model.preprocessing.std) == IMAGENET
    assert "with transform_input = True" in caplog.text
    images = torch.rand(1, 3, *model.preprocessing.size)
    wanted: dict[str, Tensor] = {}
    for layer in model.units.layers:
        published.get_submodule(layer.name).register_forward_hook(
            lambda _, __, output, at=layer.name: wanted.update({at: output})
        )
    mean, std = (torch.tensor(values)[:, None, None] for values in IMAGENET)
    with torch.inference_mode():
        published((images - mean) / std)
    for layer, maps in model.observe(images).items():
        torch.testing.assert_close(maps, wanted[layer], rtol=1e-4, atol=1e-4 * float(wanted[layer].abs().max()))

    # What it amounts to, stated: the network's own input is of mean and deviation 0.5.
    stated = zoo.load(spec(f"torchvision/{name}", file, mean=HALF))
    for layer, maps in stated.observe(images).items():
        torch.testing.assert_close(maps, wanted[layer], rtol=1e-3, atol=1e-3 * float(wanted[layer].abs().max()))
    plain = zoo.load(spec(f"torchvision/{name}", file, mean=IMAGENET[0], std=IMAGENET[1]))
    assert plain.module.transform_input is False
    last = model.units.layers[-1].name
    assert not torch.allclose(plain.observe(images)[last], wanted[last], rtol=1e-2)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("vit_small_patch16_224", ["mean", "std"]),
        ("resnet18", ["size", "interpolation"]),
        ("inception_v3", ["mean", "std"]),
        ("test_vit", []),
        ("vit_small_patch16_224.dino", []),
        ("inception_v3.tv_in1k", []),
    ],
)
def test_where_published_weights_differ_a_file_is_warned_of(
    spec: Spec, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, fields: list[str]
) -> None:
    caplog.set_level("INFO", "rosetta")
    with torch.random.fork_rng(devices=[]):
        torch.save(timm.create_model(name).state_dict(), tmp_path / "net.pth")
    model = spec(f"timm/{name}", str(tmp_path / "net.pth"))
    for _ in range(2):
        loaded = zoo.load(model)
    warned = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(warned) == bool(fields)
    assert loaded.preprocessing is not None
    assert loaded.published is not None
    said = [record.getMessage() for record in caplog.records if loaded.published in record.getMessage()]
    if "." not in name:  # once, in the warning if there is one
        assert len(said) == 1
        assert said[0].endswith(f"those of {loaded.published}") or f"as of {loaded.published}: " in said[0]
    for record in warned:
        line = record.getMessage()
        assert f"published weights of timm/{name} differ in {' and '.join(fields)}" in line
        for field in fields:
            assert f"{field} = {loaded.preprocessing.as_dict()[field]}" in line
    caplog.clear()
    zoo.load(model.model_copy(update={field: getattr(loaded.preprocessing, field) for field in fields}))
    zoo.load(spec(f"timm/{name}"))
    assert not caplog.records


@pytest.mark.parametrize(
    ("name", "mean"), [("inception_v3.tv_in1k", 0.5), ("inception_v3.tf_in1k", 0.5), ("inception_v3.gluon_in1k", 0.485)]
)
def test_timms_inception_sees_what_its_tag_was_trained_on(spec: Spec, name: str, mean: float) -> None:
    preprocessing = zoo.load(spec(f"timm/{name}")).preprocessing
    assert preprocessing is not None
    assert preprocessing.mean[0] == mean


def test_a_module_of_ones_own(spec: Spec, factory: Factory, tiny: type[nn.Module]) -> None:
    model = zoo.load(spec(factory(tiny), mean=HALF, size=(48, 64)))
    assert model.preprocessing == zoo.Preprocessing((48, 64), mean=HALF)
    assert model.units.layers[0].grid in ((24, 32), (12, 16))

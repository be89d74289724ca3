"""StyleGAN2, 3 and XL as a user has them: from the files that are published, through the code that reads real ones.

Each toy was run through the published definition; its weights are written as NVIDIA writes a `.pkl`, as rosinality
writes a `.pt`, and as `.safetensors`.
"""

import gzip
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import toys
from damage import evil_file
from nvidia_files import persistent, pickled
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from rosetta import zoo
from rosetta.errors import UserError
from rosetta.model_spec import Condition, ModelSpec
from rosetta.zoo.families.stylegan import stylegan2, stylegan3, styleganxl
from rosetta.zoo.families.stylegan.family import StyleGAN2, StyleGAN3, StyleGANXL

Spec = Callable[..., ModelSpec]
FACTS = Path(__file__).parent / "facts"
FAMILIES = {
    "stylegan2-nvidia": "stylegan2",
    "stylegan2-rosinality": "stylegan2",
    "stylegan3-t": "stylegan3",
    "stylegan3-r": "stylegan3",
    "styleganxl": "styleganxl",
}
NVIDIA = [toy for toy in FAMILIES if toy != "stylegan2-rosinality"]


@cache
def facts(toy: str) -> dict[str, Tensor]:
    with safe_open(FACTS / f"{toy}-tiny.safetensors", "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def weights(toy: str) -> dict[str, Tensor]:
    return {name.removeprefix("state/"): tensor for name, tensor in facts(toy).items() if name.startswith("state/")}


def _pkl(toy: str, folder: Path) -> Path:
    held = {"G": None, "D": None, "G_ema": persistent(weights(toy)), "training_set_kwargs": {"xflip": True}}
    (folder / "net.pkl").write_bytes(pickled(held))
    return folder / "net.pkl"


def _pt(toy: str, folder: Path) -> Path:
    mean = {"latent_avg": facts(toy)["truncation_latent"]}
    torch.save({"g_ema": weights(toy), "d": {"conv.weight": torch.ones(1)}, **mean}, folder / "net.pt")
    return folder / "net.pt"


def _safetensors(toy: str, folder: Path) -> Path:
    save_file({name: tensor.contiguous() for name, tensor in weights(toy).items()}, folder / "net.safetensors")
    return folder / "net.safetensors"


def _assert_near(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4 * float(wanted.abs().max()))


def _margin(toy: str, side: int, image: int) -> int:
    """Positions of a published map beyond the image: none of StyleGAN2's, and none of one of the image's size."""
    return 0 if toy.startswith("stylegan2") or side == image else 10


def _of_the_image(toy: str, maps: Tensor, image: int) -> Tensor:
    """The part of a published map that shows the image."""
    margin = _margin(toy, maps.shape[-1], image)
    return maps[:, :, margin : maps.shape[2] - margin, margin : maps.shape[3] - margin]


def _loaded(spec: Spec, toy: str, file: Path, **condition: Any) -> zoo.Model:
    told = Condition(**{"truncation": 0.7, **condition})
    return zoo.load(spec(f"{FAMILIES[toy]}/custom", weights=str(file), condition=told))


@pytest.mark.parametrize(
    ("toy", "write"),
    [
        *((toy, _pkl) for toy in NVIDIA),
        *((toy, _safetensors) for toy in NVIDIA),
        ("stylegan2-rosinality", _pt),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__.strip("_"),
)
def test_every_map_is_that_of_the_published_definition(
    spec: Spec, toy: str, write: Callable[[str, Path], Path], tmp_path: Path
) -> None:
    model = _loaded(spec, toy, write(toy, tmp_path))
    tensors = facts(toy)
    classes = tensors["c"].argmax(1) if "c" in tensors else None
    assert model.classes == (tensors["c"].shape[1] if "c" in tensors else None)
    images, maps = model.synthesise(tensors["z"], classes)
    _assert_near(images * 2 - 1, tensors["map/image"])
    named = {name for name in tensors if name.startswith("map/") and name != "map/image"}
    assert {f"map/{name}" for name in maps} <= named
    assert len(maps) >= 5
    for name, values in maps.items():
        _assert_near(values, _of_the_image(toy, tensors[f"map/{name}"], images.shape[-1]))
    again, _ = model.synthesise_styles(model.styles(tensors["z"], classes))
    _assert_near(again, images)
    assert model.spaces == ("z", "w", "w+")


@pytest.mark.parametrize("toy", list(FAMILIES))
def test_truncation_and_bound_are_the_recipes(spec: Spec, toy: str, tmp_path: Path) -> None:
    file = _safetensors(toy, tmp_path)
    full, half = (_loaded(spec, toy, file, truncation=psi, bound=1.0) for psi in (1.0, 0.5))
    assert full.prior is not None
    drawn = full.draw_latents(range(200), 0)
    assert 0.95 < abs(drawn).max() <= 1
    z = torch.from_numpy(drawn[:4])
    drawn_classes = full.draw_classes(range(4), 0)
    classes = None if drawn_classes is None else torch.from_numpy(drawn_classes)
    styles, nearer = full.styles(z, classes), half.styles(z, classes)
    differences = styles - styles[[1, 2, 3, 0]]
    if classes is None:
        torch.testing.assert_close((nearer - nearer[[1, 2, 3, 0]]) * 2, differences, rtol=1e-4, atol=1e-5)
    assert (nearer - styles).abs().max() > 0.01


def test_a_file_without_a_mean_has_one_all_the_same(spec: Spec, tmp_path: Path) -> None:
    state = weights("stylegan2-rosinality")
    torch.save({"g_ema": state}, tmp_path / "alone.pt")
    torch.save({"g_ema": state, "latent_avg": torch.full((1, 16), 3.0)}, tmp_path / "other.pt")
    z = torch.zeros(1, 16)
    alone, other, given = (
        _loaded(spec, "stylegan2-rosinality", file, truncation=0.001).styles(z)[0, 0]
        for file in (tmp_path / "alone.pt", tmp_path / "other.pt", _pt("stylegan2-rosinality", tmp_path))
    )
    torch.testing.assert_close(other, torch.full((16,), 3.0), rtol=0, atol=0.05)
    torch.testing.assert_close(given, facts("stylegan2-rosinality")["truncation_latent"][0], rtol=0, atol=0.05)
    assert (alone - other).abs().max() > 1


def test_what_lies_beside_takes_no_place_in_the_order(spec: Spec, tmp_path: Path) -> None:
    state = weights("stylegan2-rosinality")
    ordered = {name: state[name] for name in stylegan2.recognise(state).build().state_dict()}
    file = str(tmp_path / "net.pt")
    torch.save({"latent_avg": torch.ones(16), "g_ema": ordered}, file)
    by_order = zoo.load(spec("stylegan2/custom", weights=file, match="order"))
    by_name = zoo.load(spec("stylegan2/custom", weights=file))
    z = facts("stylegan2-rosinality")["z"]
    assert torch.equal(by_order.synthesise(z)[0], by_name.synthesise(z)[0])


def test_classes_of_stylegan2(spec: Spec, tmp_path: Path) -> None:
    """By index through the zoo, as a vector of ones and zeros through the published definition."""
    toy = toys.toy("stylegan2-nvidia-conditional")
    model = toys.load("stylegan2", toys.network(toy.state, toy.arguments), tmp_path)
    assert model.classes == 5
    classes = toy.tensors["c"].argmax(1)
    images, maps = model.synthesise(toy.tensors["z"], classes)
    _assert_near(images * 2 - 1, toy.maps["image"])
    assert set(maps) == {name for name in toy.maps if "b4" not in name and name != "image"}
    for name, values in maps.items():
        _assert_near(values, toy.maps[name])
    assert (model.synthesise(toy.tensors["z"], classes.flip(0))[0] - images).abs().max() > 0.01
    assert model.draw_classes(range(9), 0).max() < 5


def test_the_published_network_of_cifar() -> None:
    net = _meta("stylegan2", "cifar10-32")
    assert net.classes == 10
    shapes = {name: tuple(tensor.shape) for name, tensor in net.module.state_dict().items()}
    assert shapes["mapping.embed.weight"] == (512, 10)
    assert shapes["mapping.fc0.weight"] == (512, 1024)
    assert "mapping.fc2.weight" not in shapes
    assert shapes["synthesis.b32.torgb.weight"] == (3, 512, 1, 1)


@pytest.mark.parametrize("toy", ["stylegan2-rosinality", "stylegan3-t", "styleganxl"])
def test_gradients_reach_latents_and_styles(spec: Spec, toy: str, tmp_path: Path) -> None:
    model = _loaded(spec, toy, _safetensors(toy, tmp_path))
    drawn = model.draw_classes(range(1), 0)
    classes = None if drawn is None else torch.from_numpy(drawn)
    z = torch.from_numpy(model.draw_latents(range(1), 0)).requires_grad_()
    images, maps = model.synthesise(z, classes)
    (gradient,) = torch.autograd.grad(images.square().mean() + next(iter(maps.values())).mean(), z)
    assert (gradient != 0).all()
    w = model.styles(z.detach(), classes).requires_grad_()
    (gradient,) = torch.autograd.grad(model.synthesise_styles(w)[0].square().mean(), w)
    assert (gradient.abs().amax(2) > 0).all()


# At full size


def _meta(family: Any, name: str) -> zoo.Model:
    with torch.device("meta"):
        return zoo.load(ModelSpec(name="net", model=f"{family}/{name}", weights="random:0"), "meta")


@pytest.mark.parametrize(
    ("family", "name", "units", "layers"),
    [
        ("stylegan2", "lsun-cat", 4882, 18),
        ("stylegan2", "lsun-horse", 4882, 18),
        ("stylegan2", "lsun-car", 5013, 21),
        ("stylegan2", "ffhq-1024", 5080, 24),
        ("stylegan2", "afhqv2-512", 5013, 21),
        ("stylegan2", "cifar10-32", 6 * 512 + 3 * 3, 9),
    ],
)
def test_units_of_stylegan2(family: str, name: str, units: int, layers: int) -> None:
    found = _meta(family, name).units
    assert (len(found), len(found.layers)) == (units, layers)


@pytest.mark.parametrize(
    ("facts_file", "family"),
    [("stylegan3-networks", "stylegan3"), ("styleganxl-networks", "styleganxl")],
)
def test_layers_are_the_published_ones(facts_file: str, family: str) -> None:
    networks = json.loads(gzip.decompress((FACTS / f"{facts_file}.json.gz").read_bytes()))
    for name, network in networks.items():
        model = _meta(family, name)
        wanted = [(each["name"], each["channels"], (each["grid_y"], each["grid_x"])) for each in network["layers"]]
        found = [(layer.name, layer.channels, layer.raw_grid) for layer in model.units.layers]
        assert model.image_size is not None
        for layer in model.units.layers:
            assert layer.grid[0] == layer.raw_grid[0] - 2 * _margin(family, layer.raw_grid[0], model.image_size[0])
        assert found == wanted or found == [(f"synthesis.{layer}", *rest) for layer, *rest in wanted]
        state = {key: list(tensor.shape) for key, tensor in model.module.state_dict().items()}
        assert state == network["state_dict"]


def test_names() -> None:
    assert set(StyleGAN2().names()) == {*stylegan2.PUBLISHED, "custom"}
    assert {"r-ffhqu-1024", "t-afhqv2-512", "custom"} <= set(StyleGAN3().names())
    assert set(StyleGANXL().names()) == {*styleganxl.PUBLISHED, "custom"}
    assert "custom" not in stylegan3.PUBLISHED


# What cannot be loaded


def _resnet(folder: Path) -> Path:
    torch.save(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).state_dict(), folder / "resnet.pth")
    return folder / "resnet.pth"


def _wrong_mean(folder: Path) -> Path:
    torch.save({"g_ema": weights("stylegan2-rosinality"), "latent_avg": torch.zeros(9)}, folder / "mean.pt")
    return folder / "mean.pt"


def _absurd(folder: Path) -> Path:
    state = weights("stylegan3-t") | {"synthesis.L999999999_1_1.weight": torch.zeros(1, 1, 1, 1)}
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / "absurd.safetensors")
    return folder / "absurd.safetensors"


def _cut_short(folder: Path) -> Path:
    content = _pkl("stylegan3-t", folder).read_bytes()
    (folder / "short.pkl").write_bytes(content[: len(content) * 2 // 3])
    return folder / "short.pkl"


@pytest.mark.parametrize(
    ("model", "file", "message"),
    [
        ("stylegan2/lsun-cat", _resnet, "do not fit stylegan2/lsun-cat: they are no StyleGAN2 generator's"),
        ("stylegan3/custom", _resnet, "do not fit stylegan3/custom: they are no StyleGAN3 generator's"),
        ("styleganxl/custom", _resnet, "do not fit styleganxl/custom: they are no StyleGAN-XL generator's"),
        ("stylegan2/custom", lambda folder: _pkl("stylegan3-t", folder), "there is .*; they are|StyleGAN3's or"),
        ("stylegan3/custom", lambda folder: _pkl("styleganxl", folder), "they are StyleGAN-XL's, not StyleGAN3's"),
        (
            "styleganxl/custom",
            lambda folder: _pkl("stylegan3-t", folder),
            "no StyleGAN-XL's: it has an embedding of classes",
        ),
        ("stylegan2/lsun-cat", lambda folder: _pt("stylegan2-rosinality", folder), r"they make images of 32 × 32, not"),
        ("stylegan3/t-ffhqu-256", lambda folder: _pkl("stylegan3-t", folder), r"not 256 × 256; name it stylegan3/c"),
        ("styleganxl/imagenet-64", lambda folder: _pkl("styleganxl", folder), r"not 64 × 64; name it styleganxl/c"),
        ("stylegan2/custom", _wrong_mean, r"'latent_avg' beside them is \(9,\), not one style of 16 numbers"),
        ("stylegan3/custom", _absurd, "do not fit stylegan3/custom: .*L999999999"),
        ("stylegan3/custom", _cut_short, "damaged, truncated or no pickle"),
        ("stylegan3/custom", lambda folder: evil_file(folder, "evil.pkl"), r"carries code \(posix\.mkdir\)"),
        ("stylegan2/custom", lambda folder: evil_file(folder, "evil.pt"), r"carries code \(posix\.mkdir\)"),
        ("stylegan2/custom", lambda _: "http://127.0.0.1:9/net.pkl", "cannot be opened"),
        ("stylegan2/custom", lambda folder: folder / "none.pkl", "no such file"),
        ("stylegan2/custom", lambda folder: folder, "is a folder"),
        ("stylegan2/lsun-cats", lambda _: "random:0", "stylegan2 has no model 'lsun-cats'; did you mean 'lsun-cat'"),
        ("stylegan3/r-ffhq-102", lambda _: "random:0", "did you mean 'r-ffhq-1024'"),
        ("stylegan2/custom", lambda _: "random:0", "stylegan2/custom is read off its weights"),
        ("stylegan3/custom", lambda _: "pretrained", "stylegan3/custom is read off its weights"),
        ("stylegan2/lsun-cat", lambda _: "pretrained", "has no weights that a library would download; give the .pkl"),
        ("stylegan3/r-ffhqu-256", lambda _: "pretrained", r"give stylegan3-r-ffhqu-256x256\.pkl as weights"),
        ("styleganxl/imagenet-128", lambda _: "pretrained", r"give imagenet128\.pkl as weights"),
    ],
)
def test_what_cannot_be_loaded(
    spec: Spec, model: str, file: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        zoo.load(spec(model, weights=str(file(tmp_path))))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("toy", "condition", "message"),
    [
        ("stylegan2-nvidia", {"classes": (1,)}, "its weights know no classes; remove condition.classes"),
        ("stylegan3-t", {"classes": (1,)}, "its weights know no classes; remove condition.classes"),
        ("styleganxl", {"classes": (3, 10)}, "has 10, but its classes are 0 to 9"),
        ("styleganxl", {"steps": 10}, "takes no condition.steps"),
        ("stylegan3-t", {"timestep": 10}, "takes no condition.timestep"),
    ],
)
def test_what_a_network_cannot_be_told(
    spec: Spec, toy: str, condition: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        _loaded(spec, toy, _safetensors(toy, tmp_path), **condition)


def test_a_stylegan3_of_classes(spec: Spec, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = stylegan3.Config(resolution=16, channel_base=512, channel_max=16, layers=5, z_dim=8, w_dim=8, c_dim=3)
    net = stylegan3.StyleGAN3(config)
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    model = zoo.load(spec("stylegan3/custom", weights=str(tmp_path / "net.safetensors")))
    assert model.classes == 3
    z = torch.from_numpy(model.draw_latents(range(2), 0))
    hot = torch.nn.functional.one_hot(torch.tensor([2, 0]), 3).float()
    torch.testing.assert_close(model.synthesise(z, torch.tensor([2, 0]))[0], net(z, hot).add(1).div(2))
    assert (model.synthesise(z, torch.tensor([1, 0]))[0][0] - model.synthesise(z, torch.tensor([2, 0]))[0][0]).any()

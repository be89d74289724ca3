"""Hand-made maps, against the same features written out in float64."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.signal import fftconvolve

from rosetta import zoo
from rosetta.errors import UserError
from rosetta.model_spec import ModelSpec
from rosetta.zoo.families import pixels
from rosetta.zoo.families.pixels import FEATURES, pixel_features

Spec = Callable[..., ModelSpec]

GABORS = [(wavelength, degrees) for wavelength in (4, 8, 16) for degrees in (0, 45, 90, 135)]
LAYERS = [("colour", 12), ("gradient", 2), ("variance", 2), ("gabor.0", 8), ("gabor.1", 8), ("gabor.2", 8)]
SIZES = [(64, 64), (33, 20), (4, 4), (5, 40), (7, 6)]  # the largest filter has 49 × 49 pixels


def expected(image: np.ndarray) -> np.ndarray:
    """(rgb, y, x) → (feature, y, x), all float64."""
    red, green, blue = image
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    height, width = luminance.shape
    down, across = np.gradient(np.pad(luminance, 1, mode="edge"))
    near = np.pad(luminance, 2, mode="edge")
    shifted = np.stack([near[i : i + height, j : j + width] for i in range(5) for j in range(5)])
    maps = [red, green, blue, luminance, red - green, blue - (red + green) / 2]
    maps += [np.hypot(down, across)[1:-1, 1:-1], (shifted**2).mean(0) - shifted.mean(0) ** 2]
    return np.stack([*maps, *(energy(luminance, *gabor) for gabor in GABORS)])


def energy(luminance: np.ndarray, wavelength: int, degrees: int) -> np.ndarray:
    """Energy under one pair of filters, from the definition."""
    reach = 3 * wavelength // 2
    line = np.arange(-reach, reach + 1)
    gauss = np.exp(-((line / (wavelength / 2)) ** 2) / 2)
    window = gauss[:, None] * gauss
    along = np.cos(np.deg2rad(degrees)) * line + np.sin(np.deg2rad(degrees)) * line[:, None]
    even, odd = window * np.cos(2 * np.pi * along / wavelength), window * np.sin(2 * np.pi * along / wavelength)
    even = even - window * even.sum() / window.sum()
    padded = np.pad(luminance, reach, mode="edge")
    responses = [fftconvolve(padded, each / np.sqrt((each**2).sum()), mode="valid") for each in (even, odd)]
    return np.sqrt(responses[0] ** 2 + responses[1] ** 2)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).random(shape, dtype=np.float32)


def named(maps: torch.Tensor) -> dict[str, torch.Tensor]:
    """(image, feature, y, x) → (image, y, x) by name."""
    return dict(zip(FEATURES, maps.unbind(1), strict=True))


@pytest.mark.parametrize("size", SIZES)
def test_each_feature_is_what_its_formula_says(size: tuple[int, int]) -> None:
    images = noise(3, 3, *size)
    maps = pixel_features(torch.from_numpy(images))
    assert maps.dtype == torch.float32
    assert maps.shape == (3, len(FEATURES), *size)
    truth = np.stack([expected(image) for image in images.astype(np.float64)])
    for name, found, wanted in zip(FEATURES, maps.numpy().swapaxes(0, 1), truth.swapaxes(0, 1), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max(), err_msg=name)


def test_names_tell_the_colours_apart() -> None:
    assert len(set(FEATURES)) == len(FEATURES) == 20
    red, yellow = (
        torch.tensor(colour)[None, :, None, None].expand(1, 3, 8, 8) for colour in ([1.0, 0, 0], [1.0, 1, 0])
    )
    values = {name: round(float(map_[0, 3, 3]), 4) for name, map_ in named(pixel_features(red)).items()}
    assert [values[name] for name in ("red", "green", "blue")] == [1, 0, 0]
    assert (values["luminance"], values["red-green"], values["blue-yellow"]) == (0.2126, 1, -0.5)
    opponents = named(pixel_features(yellow))
    assert opponents["red-green"].abs().max() == 0
    assert (opponents["blue-yellow"] == -1).all()


def test_a_white_ramp_has_its_slope_as_gradient() -> None:
    ramp = (torch.arange(20) / 40).expand(1, 3, 10, 20)
    for image in (ramp, ramp.mT):
        gradient = named(pixel_features(image))["gradient"]
        torch.testing.assert_close(gradient[:, 1:-1, 1:-1], torch.full_like(gradient[:, 1:-1, 1:-1], 1 / 40))


@pytest.mark.parametrize(("wavelength", "degrees"), GABORS)
def test_a_grating_lights_its_own_gabor(wavelength: int, degrees: int) -> None:
    y, x = np.mgrid[:64, :64]
    along = x * np.cos(np.deg2rad(degrees)) + y * np.sin(np.deg2rad(degrees))
    grating = torch.from_numpy(0.5 + 0.4 * np.sin(2 * np.pi * along / wavelength + 0.7)).expand(1, 3, 64, 64)
    inside = {name: map_[0, 16:48, 16:48] for name, map_ in named(pixel_features(grating)).items() if "px" in name}
    means = {name: float(map_.mean()) for name, map_ in inside.items()}
    own = f"gabor {wavelength} px {degrees}°"
    others = [mean for name, mean in means.items() if name != own]
    assert means[own] > 2 * max(others)
    # A quadrature pair does not see where in its period the wave is.
    assert inside[own].std() < 0.02 * means[own]


@pytest.mark.parametrize("size", [(64, 64), (4, 7)])
def test_a_flat_image_has_no_texture(size: tuple[int, int]) -> None:
    flat = torch.tensor([[0.9, 0.3, 0.7], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])[:, :, None, None].expand(3, 3, *size)
    texture = pixel_features(flat)[:, FEATURES.index("gradient") :]
    assert texture.shape == (3, 14, *size)
    assert texture.abs().max() < 1e-5


@pytest.mark.parametrize("size", [(24, 24), (4, 6)])
def test_derivatives(size: tuple[int, int]) -> None:
    pixels._passes.cache_clear()
    image, direction, weight = noise(3, *size), noise(3, *size) - 0.5, noise(len(FEATURES), *size)
    with torch.inference_mode():  # filters made here must serve the differentiable pass below
        pixel_features(torch.from_numpy(image[None]))
    leaf = torch.from_numpy(image[None]).requires_grad_()
    (pixel_features(leaf)[0] * torch.from_numpy(weight)).sum().backward()
    assert leaf.grad is not None
    step = 1e-6 * direction.astype(np.float64)
    change = ((expected(image + step) - expected(image - step)) / 2e-6 * weight).sum()
    assert float((leaf.grad[0].numpy() * direction).sum()) == pytest.approx(change, rel=1e-3)


def test_derivatives_of_a_flat_image_are_finite() -> None:
    flat = torch.full((1, 3, 16, 16), 0.5, requires_grad=True)
    pixel_features(flat).sum().backward()
    assert flat.grad is not None
    assert flat.grad.isfinite().all()
    assert (flat.grad != 0).any()


def test_the_same_again_in_any_precision_and_alone() -> None:
    images = torch.from_numpy(noise(4, 3, 32, 32))
    maps = pixel_features(images)
    assert torch.equal(pixel_features(images), maps)
    assert torch.equal(pixel_features(images.double()), maps)
    torch.testing.assert_close(pixel_features(images[2:3]), maps[2:3])


@pytest.mark.parametrize("images", [torch.zeros(3, 8, 8), torch.zeros(1, 4, 8, 8), torch.zeros(1, 3, 8, 8).byte()])
def test_what_are_no_images(images: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="not float"):
        pixel_features(images)


@pytest.mark.parametrize("side", [32, 64, 128])
def test_the_models_layers(side: int) -> None:
    model = zoo.load(ModelSpec(name="pixels", model=f"pixels/{side}"))
    assert [(layer.name, layer.channels) for layer in model.units.layers] == LAYERS
    assert {layer.grid for layer in model.units.layers} == {(side, side)}
    assert len(model.units) == 2 * len(FEATURES)
    assert not model.is_generator
    assert not zoo.is_generator(model.spec)
    assert zoo.weights_sha256(model.spec) == model.weights_sha256


def test_units_are_the_features_and_their_negations() -> None:
    model = zoo.load(ModelSpec(name="pixels", model="pixels/32"))
    images = torch.from_numpy(noise(2, 3, 48, 40))
    maps = model.observe(images)
    halves = [layer.chunk(2, 1) for layer in maps.values()]
    assert model.preprocessing is not None
    small = model.preprocessing(images)
    assert 0 <= small.min() < 0.3
    assert 0.7 < small.max() <= 1
    torch.testing.assert_close(torch.cat([half for half, _ in halves], 1), pixel_features(small), rtol=0, atol=0)
    for features, negations in halves:
        assert torch.equal(negations, -features)


def test_gradients_pass_through_the_model() -> None:
    model = zoo.load(ModelSpec(name="pixels", model="pixels/32"))
    images = torch.from_numpy(noise(1, 3, 32, 32)).requires_grad_()
    sum(layer[:, : layer.shape[1] // 2].sum() for layer in model.look(images).values()).backward()
    again = images.detach().clone().requires_grad_()
    pixel_features(again).sum().backward()
    torch.testing.assert_close(images.grad, again.grad)


@pytest.mark.parametrize("weights", ["pretrained", "random:7"])
def test_weights_make_no_difference(spec: Spec, weights: str) -> None:
    images = torch.from_numpy(noise(2, 3, 64, 64))
    untrained, other = (zoo.load(spec("pixels/64", each)).observe(images) for each in ("random:0", weights))
    assert list(untrained) == list(other) == [name for name, _ in LAYERS]
    assert all(torch.equal(untrained[name], other[name]) for name in untrained)


def test_a_file_has_no_place(spec: Spec, tmp_path: Path) -> None:
    torch.save({"filters": torch.ones(2, 2)}, tmp_path / "own.pt")
    with pytest.raises(UserError, match=r"do not fit pixels/64.*the model has 'definition'.*the file 'filters'"):
        zoo.load(spec("pixels/64", str(tmp_path / "own.pt")))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("65", "pixels has no model '65'; did you mean '64'"),
        ("1280", "did you mean '128'"),
        ("224", r"'224'; it has 32, 64, 128"),
        ("064", "did you mean '64'"),
    ],
)
def test_unknown_sides(spec: Spec, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        zoo.load(spec(f"pixels/{name}"))
    assert zoo.names("pixels") == ["32", "64", "128"]

"""Distances in features: any model's, and LPIPS by its formula."""

from pathlib import Path

import lpips
import numpy as np
import pytest
import torch
import torchvision
from tiny import load

from rosetta.errors import UserError
from rosetta.guidance.latent import Rendering
from rosetta.guidance.perceptual import Lpips, feature_distance


def rendered(images):
    return Rendering(images, images, {})


def some_images(count, seed, size=(8, 8)):
    return torch.rand((count, 3, *size), generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def eye():
    return load("Eye")


def test_an_image_has_no_distance_from_itself(eye):
    images = some_images(3, 0)
    measure = feature_distance(eye, images)
    assert measure(rendered(images)).tolist() == [0, 0, 0]
    others = measure(rendered(some_images(3, 1)))
    assert others.shape == (3,)
    assert (others > 1e-3).all()
    # Unit vectors are at most 2 apart.
    assert (others <= 4).all()


def test_rows_are_repeats_of_the_images(eye):
    target, images = some_images(2, 0), some_images(6, 1)
    found = feature_distance(eye, target)(rendered(images))
    for row in range(6):
        alone = feature_distance(eye, target[row % 2 : row % 2 + 1])(rendered(images[row : row + 1]))
        torch.testing.assert_close(found[row : row + 1], alone)


def test_the_feature_distance_by_its_formula(eye):
    target, images = some_images(2, 0, (9, 7)), some_images(2, 1, (9, 7))
    found = feature_distance(eye, target)(rendered(images)).numpy()
    for image in range(2):
        layers = []
        for layer in eye.units.layers:
            a, b = (eye.observe(x)[layer.name][image].double().numpy() for x in (images, target))
            difference = a / np.linalg.norm(a, axis=0) - b / np.linalg.norm(b, axis=0)
            layers.append((difference**2).sum(0).mean())
        assert found[image] == pytest.approx(np.mean(layers), abs=1e-6)


def test_features_of_zeros_are_no_danger(eye):
    dark = load("Eye")
    for parameter in dark.module.parameters():
        parameter.zero_()
    images = some_images(2, 0).requires_grad_(True)
    found = feature_distance(dark, some_images(2, 1))(rendered(images))
    (slope,) = torch.autograd.grad(found.sum(), images)
    assert found.tolist() == [0, 0]
    assert slope.isfinite().all()


@pytest.fixture(scope="module")
def alexnet():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return torchvision.models.alexnet(weights=None).eval().features


@pytest.fixture(scope="module")
def weights(alexnet, tmp_path_factory):
    """A file like torchvision's, without the large layers behind the features."""
    path = tmp_path_factory.mktemp("alexnet") / "alexnet.pth"
    state = {f"features.{name}": tensor for name, tensor in alexnet.state_dict().items()}
    torch.save({**state, "classifier.6.bias": torch.zeros(1000)}, path)
    return path


@pytest.fixture(scope="module")
def distance(weights):
    return Lpips(f"alex:{weights}")


def lpips_by_hand(features, images, target):
    """(image,) float64: unit features at each position, squared differences, learnt heads, means, sum over layers."""
    heads = torch.load(Path(lpips.__file__).parent / "weights/v0.1/alex.pth", "cpu", weights_only=True)
    mean, std = (torch.tensor(x).double()[:, None, None] for x in ([-0.030, -0.088, -0.188], [0.458, 0.448, 0.450]))
    maps = [((x.double() * 2 - 1) - mean) / std for x in (images, target)]
    total = torch.zeros(len(images), dtype=torch.float64)
    layer = 0
    for number, part in enumerate(features):
        # Not in place, in double, and with the module left as it is.
        if isinstance(part, torch.nn.Conv2d):
            maps = [
                torch.nn.functional.conv2d(x, part.weight.double(), part.bias.double(), part.stride, part.padding)
                for x in maps
            ]
        elif isinstance(part, torch.nn.ReLU):
            maps = [x.clamp_min(0) for x in maps]
        else:
            maps = [part(x) for x in maps]
        if number in (1, 4, 7, 9, 11):
            a, b = (x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10) for x in maps)
            head = heads[f"lin{layer}.model.1.weight"].double()
            total += ((a - b).square() * head).sum(1).mean((1, 2))
            layer += 1
    assert layer == 5
    return total.detach()


def test_lpips_by_its_formula(distance, alexnet):
    images, target = some_images(2, 0, (64, 64)), some_images(2, 1, (64, 64))
    found = distance(images, target)
    expected = lpips_by_hand(alexnet, images, target)
    assert (expected > 1e-3).all()
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=0)
    assert distance(images, images).tolist() == [0, 0]


def test_lpips_as_a_reconstruction_loss(distance):
    images, target = some_images(4, 0, (64, 64)).requires_grad_(True), some_images(2, 1, (64, 64))
    found = distance.measure(target)(rendered(images))
    torch.testing.assert_close(found, torch.cat([distance(images[:2], target), distance(images[2:], target)]))
    (slope,) = torch.autograd.grad(found.sum(), images)
    assert slope.isfinite().all()
    assert slope.abs().amax((1, 2, 3)).min() > 0


@pytest.mark.parametrize(
    "text", ["", "alex", "alex:", ":file.pth", "resnet:file.pth", "Alex:file.pth", "weights/alexnet.pth", "vgg16:x"]
)
def test_text_that_is_no_net_and_weights(text):
    with pytest.raises(UserError, match="is not <net>:<weights>") as caught:
        Lpips(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("random:0", "lpips alex:random:0 has random weights"),
        ("random:x", "the seed must be a whole number"),
        ("/nowhere/alexnet.pth", "'/nowhere/alexnet.pth': no such file"),
        ("package:nowhere/alexnet.pth", "'nowhere' is not installed"),
    ],
)
def test_weights_that_cannot_be_used(weights, message):
    with pytest.raises(UserError, match=message):
        Lpips(f"alex:{weights}")


def test_weights_of_another_backbone(weights, tmp_path):
    with pytest.raises(
        UserError, match=r"squeeze:.*: the weights have no features\.0\.weight of shape \(64, 3, 3, 3\)"
    ):
        Lpips(f"squeeze:{weights}")
    other = tmp_path / "other.pth"
    torch.save({"layer1.weight": torch.zeros(3)}, other)
    with pytest.raises(UserError, match=r"the weights have no features\.0\.weight"):
        Lpips(f"alex:{other}")
    state = torch.load(weights, weights_only=True)
    state["features.10.weight"] = state["features.10.weight"][:-1]
    torch.save(state, other)
    with pytest.raises(UserError, match=r"the weights have no features\.10\.weight of shape \(256, 256, 3, 3\)"):
        Lpips(f"alex:{other}")
    other.write_bytes(b"no tensors")
    with pytest.raises(UserError, match="damaged"):
        Lpips(f"alex:{other}")

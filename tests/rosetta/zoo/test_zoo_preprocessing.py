"""Resizing and normalising."""

import pytest
import torch

from rosetta.errors import UserError
from rosetta.zoo import Preprocessing

PLAIN = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "nearest"])
def test_the_whole_image_is_kept(interpolation: str) -> None:
    # The brightness of a ramp tells the position: both ends must survive at any size.
    ramp = torch.linspace(0, 1, 90).expand(1, 3, 60, 90)
    for size in ((30, 30), (60, 90), (120, 200)):
        small = Preprocessing(size, interpolation, *PLAIN)(ramp)  # type: ignore[arg-type]
        assert small.shape == (1, 3, *size)
        centres = (torch.arange(size[1]) + 0.5) / size[1]
        torch.testing.assert_close(small[0, 0, 0], centres, atol=0.02, rtol=0)
        assert small.min() >= 0
        assert small.max() <= 1


def test_shrinking_averages_fine_patterns() -> None:
    stripes = (torch.arange(64) % 2).float().expand(1, 3, 64, 64)
    small = Preprocessing((16, 16), "bilinear", *PLAIN)(stripes)
    assert (small - 0.5).abs().max() < 0.1


def test_colours_are_normalised_per_channel() -> None:
    prepare = Preprocessing((4, 4), "bilinear", (0.1, 0.2, 0.3), (0.5, 0.25, 0.125))
    result = prepare(torch.full((2, 3, 4, 4), 0.6))
    torch.testing.assert_close(result[1, :, 2, 2], torch.tensor([1.0, 1.6, 2.4]))


def test_gradients_reach_the_image() -> None:
    image = torch.rand(1, 3, 20, 20).requires_grad_()
    Preprocessing((9, 11), "bicubic")(image).square().sum().backward()
    assert image.grad is not None
    assert (image.grad != 0).float().mean() > 0.9


@pytest.mark.parametrize(
    "fields",
    [
        {"size": (0, 4)},
        {"size": (4, 4, 4)},
        {"size": (4, 4), "interpolation": "cubic"},
        {"size": (4, 4), "std": (1.0, 0.0, 1.0)},
        {"size": (4, 4), "mean": (0.5,)},
    ],
)
def test_nonsense_is_refused(fields: dict) -> None:  # type: ignore[type-arg]
    with pytest.raises(UserError):
        Preprocessing(**fields)

"""Which axis is which."""

import pytest
import torch

from rosetta.zoo.maps.layout import NoMapError, Traits, layout_of

SQUARE = (64, 64)
LAST = Traits(channels_last=True)


@pytest.mark.parametrize(
    ("shape", "traits", "image", "channels", "grid"),
    [
        ((1, 5, 8, 8), Traits(), SQUARE, 5, (8, 8)),
        ((1, 5, 8, 8), LAST, SQUARE, 5, (8, 8)),
        ((1, 8, 8, 5), Traits(), SQUARE, 5, (8, 8)),
        ((1, 8, 8, 8), Traits(), SQUARE, 8, (8, 8)),
        ((1, 8, 8, 8), LAST, SQUARE, 8, (8, 8)),
        ((1, 1, 1, 9), Traits(), SQUARE, 9, (1, 1)),
        ((1, 9, 1, 1), Traits(), SQUARE, 9, (1, 1)),
        ((1, 6, 4, 8), Traits(), (64, 128), 6, (4, 8)),
        ((1, 4, 8, 6), Traits(), (64, 128), 6, (4, 8)),
        ((1, 8, 4, 6), Traits(), (128, 64), 6, (8, 4)),
        ((1, 17, 7), Traits(), SQUARE, 7, (4, 4)),
        ((1, 16, 7), Traits(), SQUARE, 7, (4, 4)),
        ((1, 24, 7), Traits(), SQUARE, 7, (4, 4)),
        ((1, 16, 7), Traits(prefix_tokens=1), SQUARE, 7, (4, 4)),
        ((1, 9, 7), Traits(prefix_tokens=1, token_grid=(2, 4)), (64, 128), 7, (2, 4)),
        ((1, 9, 7), Traits(prefix_tokens=0), SQUARE, 7, (3, 3)),
        ((1, 10, 7), Traits(token_grid=(2, 4)), (64, 128), 7, (2, 4)),
        ((1, 50, 7), Traits(prefix_tokens=1, token_grid=(14, 14)), SQUARE, 7, (7, 7)),
    ],
)
def test_axes(
    shape: tuple[int, ...], traits: Traits, image: tuple[int, int], channels: int, grid: tuple[int, int]
) -> None:
    layout = layout_of(shape, traits, image)
    assert (layout.channels, layout.grid) == (channels, grid)
    assert layout.arrange(torch.zeros(3, *shape[1:])).shape == (3, channels, *grid)


@pytest.mark.parametrize(
    "shape", [(1, 4), (2, 3, 4, 4), (1, 2, 3, 4, 5), (1, 0, 4, 4), (1, 45, 7), (), (1, 3, 4, 5), (1, 12, 197, 64)]
)
def test_no_maps(shape: tuple[int, ...]) -> None:
    with pytest.raises(NoMapError):
        layout_of(shape, Traits(), SQUARE)

"""Which axis is which."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from rosetta.units import Grid, Layer
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
        ((1, 5, 8, 3), Traits(), (299, 150), 5, (8, 3)),  # unpadded convolutions take as much from either side
        ((1, 6, 2, 5), Traits(), (256, 128), 5, (6, 2)),
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


# Sequences


def _oblong() -> Iterator[Grid]:
    return ((rows, columns) for rows in range(1, 40) for columns in range(1, 40))


@pytest.mark.parametrize("prefix", [0, 1, 5])
@pytest.mark.parametrize("rest", [(0, 0), (15, 0), (0, 15), (7, 11)])
def test_a_sequence_folds_as_the_image_does(prefix: int, rest: Grid) -> None:
    """Of patches of 16 pixels a side; what is left of the image at its edges does not matter."""
    for grid in _oblong():
        image = grid[0] * 16 + rest[0], grid[1] * 16 + rest[1]
        if grid[0] != grid[1] or image[0] == image[1]:
            assert _folded(grid, prefix, Traits(prefix_tokens=prefix), image) == (prefix, grid)


@pytest.mark.parametrize("prefix", [0, 1, 5])
def test_a_declared_grid_is_believed(prefix: int) -> None:
    """Whatever the image's proportions, as patches need not be square."""
    for grid in _oblong():
        if prefix or grid != (1, 1):
            traits = Traits(prefix_tokens=prefix, token_grid=grid)
            assert _folded(grid, prefix, traits, (64, 64)) == (prefix, grid)


@pytest.mark.parametrize("prefix", [0, 1, 5])
def test_pooled_grids(prefix: int) -> None:
    """A declared grid halved once or twice, odd sides rounded up or down."""
    for rows, columns in _oblong():
        if min(rows, columns) < 8:
            continue
        image, traits = (rows * 16, columns * 16), Traits(prefix_tokens=prefix, token_grid=(rows, columns))
        for grid in ((rows // 2, columns // 2), (-(-rows // 2), -(-columns // 2)), (rows // 4, columns // 4)):
            assert _folded(grid, prefix, traits, image) == (prefix, grid)


def test_nothing_folds_into_what_an_image_is_not() -> None:
    """Of any length: what is folded has the image's proportions, or is refused."""
    for image in [(256, 128), (96, 320), (224, 224)]:
        for tokens in range(1, 1500):
            for prefix in (None, 1):
                try:
                    _, (rows, columns) = _folded((tokens, 1), 0, Traits(prefix_tokens=prefix), image)
                except NoMapError:
                    continue
                ratio = image[0] / image[1]
                assert abs(rows - columns * ratio) < max(1, ratio)


def test_the_faults_that_were() -> None:
    assert _folded((16, 8), 1, Traits(prefix_tokens=1), (256, 128)) == (1, (16, 8))
    assert _folded((16, 8), 1, Traits(), (256, 128)) == (1, (16, 8))
    with pytest.raises(NoMapError, match="1024 tokens"):  # hidden units of a Mixer
        layout_of((1, 1024, 512), Traits(prefix_tokens=0, token_grid=(14, 14)), (224, 224))
    with pytest.raises(NoMapError, match="1024 tokens"):
        layout_of((1, 1024, 512), Traits(), (224, 224), before=[(14, 14)])
    with pytest.raises(NoMapError, match=r"0 \+ 17 × 8 or 8 \+ 16 × 8; the model must declare num_prefix_tokens"):
        layout_of((1, 136, 7), Traits(), (256, 128))
    with pytest.raises(NoMapError, match="class and register tokens"):
        layout_of((1, 1, 7), Traits(prefix_tokens=1), SQUARE)


def _folded(grid: Grid, prefix: int, traits: Traits, image: Grid) -> tuple[int, Grid]:
    layout = layout_of((1, prefix + grid[0] * grid[1], 3), traits, image)
    return layout.prefix, layout.grid


# Frames


@pytest.mark.parametrize("kind", ["channels first", "channels last", "tokens"])
def test_maps_are_cropped_to_the_image(kind: str) -> None:
    """A grid that covers an image of 6 × 4 positions, with 1 and 3 more above and below, 2 and 0 left and right."""
    frame = (-1 / 6, -2 / 4, 9 / 6, 1.0)
    maps = torch.arange(2 * 3 * 10 * 6).reshape(2, 3, 10, 6)
    raw, traits = maps, Traits()
    if kind == "channels last":
        raw, traits = maps.permute(0, 2, 3, 1), Traits(channels_last=True)
    elif kind == "tokens":
        raw, traits = maps.flatten(2).transpose(1, 2), Traits(prefix_tokens=0, token_grid=(10, 6))
    layout = layout_of((1, *raw.shape[1:]), traits, (100, 60), frame)
    assert (layout.kind, layout.grid, layout.raw_grid) == (kind, (6, 4), (10, 6))
    assert torch.equal(layout.arrange(raw), maps[:, :, 1:7, 2:])
    layer = Layer("net", layout.channels, layout.grid, layout.frame)
    assert layer.raw_grid == (10, 6)
    assert layer == Layer("net", layout.channels, layout.grid)


_WHERE = torch.arange(2 * 8 * 3).view(1, 2 * 8, 3).float()


@pytest.mark.parametrize(
    ("before", "after", "declared"),
    [
        (1, 0, {"prefix_tokens": 1, "token_grid": (2, 8)}),
        (0, 5, {"prefix_tokens": 0, "suffix_tokens": 5, "token_grid": (2, 8)}),
        (2, 9, {"prefix_tokens": 2, "suffix_tokens": 9}),
        (3, 1, {"suffix_tokens": 1, "token_grid": (2, 8)}),
    ],
)
@pytest.mark.parametrize("batch_first", [True, False])
def test_tokens_without_a_place_at_either_end(
    before: int, after: int, declared: dict[str, Any], batch_first: bool
) -> None:
    tokens = torch.cat([torch.full((1, before, 3), -1.0), _WHERE, torch.full((1, after, 3), -2.0)], dim=1)
    output = tokens if batch_first else tokens.transpose(0, 1)
    layout = layout_of(output.shape, Traits(batch_first=batch_first, **declared), (64, 256))
    assert layout.grid == (2, 8)
    assert torch.equal(layout.arrange(output), _WHERE.transpose(1, 2).reshape(1, 3, 2, 8))


def test_more_tokens_than_are_declared_are_no_grid() -> None:
    with pytest.raises(NoMapError, match="gives 22 tokens, which are not those of the model's 2 × 8 patches"):
        layout_of((1, 1 + 16 + 5, 3), Traits(prefix_tokens=1, token_grid=(2, 8)), (64, 256))
    with pytest.raises(NoMapError, match="gives 5 of its 5 tokens at the end"):
        layout_of((1, 5, 3), Traits(suffix_tokens=5), (64, 256))


def test_what_contradicts_a_declared_grid_is_an_error() -> None:
    """Also where a map that came before, or a square, would fit."""
    declared = Traits(prefix_tokens=1, token_grid=(7, 7))
    with pytest.raises(NoMapError, match="gives 197 tokens, which are not those of the model's 7 × 7 patches"):
        layout_of((1, 197, 3), declared, (224, 224), before=[(14, 14)])
    with pytest.raises(NoMapError, match="while the model has 7 × 7 patches"):
        layout_of((1, 8, 8, 3), declared, (224, 224))  # one window of eight, padded
    assert layout_of((1, 4, 4, 3), declared, (224, 224)).grid == (4, 4)
    assert layout_of((1, 3, 56, 56), declared, (224, 224)).grid == (56, 56)  # convolutions before the patches


def test_tokens_in_an_order_of_their_own() -> None:
    traits = Traits(orders={4: ((2, 2), (3, 0, 2, 1))})
    layout = layout_of((1, 4, 5), traits, SQUARE)
    tokens = torch.arange(3 * 4 * 5).view(3, 4, 5)
    assert torch.equal(layout.arrange(tokens)[:, :, 0, 0], tokens[:, 3])
    assert torch.equal(layout.arrange(tokens)[:, :, 1, 0], tokens[:, 2])
    with pytest.raises(NoMapError, match="gives 16 tokens, of which the model does not say where they lie"):
        layout_of((1, 16, 5), traits, SQUARE)


def test_where_there_is_no_map_at_all() -> None:
    traits = Traits(exceptions={"mlp.act": {"no_map": "works on hidden tokens"}})
    assert layout_of((1, 16, 5), traits.of("mlp"), SQUARE).grid == (4, 4)
    with pytest.raises(NoMapError, match="works on hidden tokens"):
        layout_of((1, 16, 5), traits.of("mlp.act"), SQUARE)
    inside = traits.below("trunk")
    assert inside.of("trunk.mlp.act").no_map
    assert not inside.of("mlp.act").no_map

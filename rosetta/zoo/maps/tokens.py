"""Which grid the tokens of a sequence come from."""

from collections.abc import Iterator, Sequence
from math import log

from rosetta.units import Grid

MOST_PREFIX_TOKENS = 8
"""More class and register tokens than this are not inferred: the sequence is then no grid."""


def is_like(grid: Grid, image: Grid) -> bool:
    """Whether a grid has an image's proportions, up to the rounding of one position."""
    ratio = image[0] / image[1]
    return abs(grid[0] - grid[1] * ratio) < max(1.0, ratio)


def fold(
    tokens: int, image: Grid, *, prefix: int | None = None, declared: Grid | None = None, before: Sequence[Grid] = ()
) -> tuple[int, Grid] | str:
    """How many tokens at the head of a sequence are of no place, and the grid of the others.

    A declared grid is believed: the grid is that one, as it is or halved some times. Else it has the proportions of
    the image and is the grid of a map that came before, or that one halved some times.

    Parameters
    ----------
    tokens
        Length of the sequence.
    image
        Height and width of the image.
    prefix
        Class and register tokens, where the model declares them; they may also come later than this sequence.
    declared
        Grid of the patch tokens, where the model declares it.
    before
        Grids of the maps that came before.

    Returns
    -------
    tuple or str
        Both numbers; or why there are none.
    """
    if prefix and tokens <= prefix:
        return f"gives {tokens} of its {prefix} class and register tokens, which have no place"
    prefixes = range(MOST_PREFIX_TOKENS + 1) if prefix is None else dict.fromkeys([prefix, 0])
    sources = [declared] if declared else before
    if declared and tokens - declared[0] * declared[1] in prefixes:
        return tokens - declared[0] * declared[1], declared
    found = [
        (head, grid)
        for head in prefixes
        for grid in [_nearest([grid for grid in _of_area(tokens - head, sources) if is_like(grid, image)], image)]
        if grid is not None
    ]
    size = f"an image of {image[0]} × {image[1]}"
    if not found and declared:
        return f"gives {tokens} tokens, which are not those of the model's {declared[0]} × {declared[1]} patches"
    if not found:
        heads = f"up to {MOST_PREFIX_TOKENS}" if prefix is None else f"{prefix}"
        return f"gives {tokens} tokens ({heads} of them without a place), which fill no grid that fits {size}"
    # A square is seldom hit by chance; among oblong grids several come near the image's proportions.
    if prefix is None and len(found) > 1 and image[0] != image[1]:
        grids = " or ".join(f"{head} + {rows} × {columns}" for head, (rows, columns) in found)
        return f"gives {tokens} tokens, which on {size} are {grids}; the model must declare num_prefix_tokens"
    return found[0]


def _of_area(area: int, sources: Sequence[Grid]) -> Iterator[Grid]:
    """Grids of so many positions: all there are, or where there are sources, those that they are pooled to."""
    if sources:
        yield from dict.fromkeys(grid for source in sources for grid in pooled(source) if grid[0] * grid[1] == area)
    else:
        yield from ((rows, area // rows) for rows in range(1, area + 1) if area % rows == 0)


def pooled(grid: Grid) -> Iterator[Grid]:
    """A grid, and what is left when it is halved once, twice, …; odd sides are rounded up or down."""
    yield grid
    factor = 2
    while factor < 2 * max(grid):
        yield grid[0] // factor or 1, grid[1] // factor or 1
        yield -(-grid[0] // factor), -(-grid[1] // factor)
        factor *= 2


def _nearest(grids: list[Grid], image: Grid) -> Grid | None:
    """The one whose proportions are nearest to the image's."""
    ratio = image[0] / image[1]
    return min(grids, key=lambda grid: abs(log(grid[0] / grid[1] / ratio)), default=None)

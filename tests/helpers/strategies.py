"""What property tests draw: numbers, grids, layers, correlations, boxes, file trees, checkpoints, rows of tables."""

import argparse
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from hypothesis import strategies as st

from rosetta.mining.plan import Side
from rosetta.units import Layer, Units
from storage.artifacts.columns import Column

Array = npt.NDArray[np.float64]

SEEDS = st.integers(0, 2**32 - 1)
"""Of numpy's generators, and of torch's."""


def grids(most: int) -> st.SearchStrategy[tuple[int, int]]:
    """(height, width) of maps."""
    return st.tuples(st.integers(1, most), st.integers(1, most))


# ---- layers and correlations

LAYERS = st.lists(st.tuples(st.integers(1, 3), grids(7)), min_size=1, max_size=3)
"""(channels, grid) of a small model's."""
LARGE_LAYERS = st.lists(st.tuples(st.integers(1, 3000), grids(64)), min_size=1, max_size=6)
"""The same of models as they are published."""
SPREADS = st.tuples(
    st.sampled_from([0.0, 1.0, -30.0, 200.0, 1e4]) | st.floats(-1e4, 1e4),
    st.floats(-8, 1).map(lambda power: 10.0**power),
    st.sampled_from(["dense", "sparse", "dead"]),
)
"""(mean, spread, kind) of a unit whose maps are hard to store in half precision."""
SPREAD_LAYERS = st.lists(st.lists(SPREADS, min_size=1, max_size=4), min_size=1, max_size=3)
DRAW_SEEDS = st.integers(0, 2**70)
"""Of draws without replacement, which take any whole number."""
POOLS = st.lists(st.integers(1, 40), min_size=1, max_size=12)
"""How many there are to draw from, pool by pool."""


@st.composite
def sides(draw: st.DrawFn, images: int) -> Side:
    """One model of a pair, as a plan sees it."""
    layers = draw(LARGE_LAYERS)
    units = Units(tuple(Layer(f"l{i}", channels, grid) for i, (channels, grid) in enumerate(layers)))
    block = 1 << draw(st.integers(0, 5))
    return Side(units, images, block)


@st.composite
def correlations(draw: st.DrawFn, rows: int | None = None, symmetric: bool = False) -> npt.NDArray[np.float32]:
    """(unit, unit) on a coarse scale, so that ties are common, with some units that have none."""
    rows = rows or draw(st.integers(1, 14))
    columns = rows if symmetric else draw(st.integers(1, 14))
    random = np.random.default_rng(draw(SEEDS))
    steps = draw(st.sampled_from([2, 5, 1000]))
    matrix = np.round(random.uniform(-1, 1, (rows, columns)) * steps) / steps
    if symmetric:
        matrix = (matrix + matrix.T) / 2
        np.fill_diagonal(matrix, 1)
    dead = random.random(rows) < 0.15
    matrix[dead] = np.nan
    if symmetric:
        matrix[:, dead] = np.nan
    else:
        matrix[:, random.random(columns) < 0.15] = np.nan
    return matrix.astype(np.float32)


_COLUMN = st.sampled_from([np.nan, -0.5, 0.0, 0.01, 0.05, 0.1, 0.3])
TRUST_ROWS = st.lists(st.tuples(_COLUMN, st.booleans(), _COLUMN, _COLUMN, st.integers(0, 2)), max_size=8)
"""(q_value, replicates, lift, pearson_partial, cluster) of matches; NaN where a test was not made."""

# ---- places in an image

SHARES = st.floats(0, 1, exclude_max=True)


def fractions(low: Fraction | int, high: Fraction | int, open_ends: bool = False) -> st.SearchStrategy[Fraction]:
    """Places and lengths, many of them on the edges and centres of positions."""
    steps = st.sampled_from([2, 3, 4, 5, 6, 12, 97])
    return steps.flatmap(
        lambda n: st.integers(math.ceil(low * n) + open_ends, math.floor(high * n) - open_ends).map(
            lambda k: Fraction(k, n)
        )
    )


INSIDE = fractions(0, 1)
MOVES = fractions(-1, 1, open_ends=True)


@st.composite
def boxes(draw: st.DrawFn) -> tuple[Fraction, Fraction, Fraction, Fraction]:
    """(x0, y0, x1, y1) with an area."""
    x, y = (sorted(draw(st.sets(INSIDE, min_size=2, max_size=2))) for _ in range(2))
    return x[0], y[0], x[1], y[1]


# ---- folders of images

IMAGE_SUFFIXES = {".jpg", ".png", ".avif", ".jfif"}
"""Of the suffixes below, in lower case, those of images."""
_SUFFIXES = [".jpg", ".JPG", ".Png", ".avif", ".jfif", ".txt", ".heic", ".jpg~", ""]
STEMS = st.sampled_from(
    ["a", "b b", "é", "x[1]", "#q", "50%", "a::b", "new\nline", "back\\slash", "-", "*", ".a", "._b", "..c", "Thumbs"]
)
FOLDERS = st.sampled_from(["a", "a.jpg", "b [2024]", "ü ?", ".ipynb_checkpoints", "c::d"])
TREES = st.lists(st.tuples(st.lists(FOLDERS, max_size=3), STEMS, st.sampled_from(_SUFFIXES)), min_size=1, max_size=12)
"""(folders above, stem, suffix) of files."""
LINKS = st.lists(st.tuples(st.integers(0, 99), st.sampled_from(["l", "m.jpg", ".n"]), st.integers(0, 99)), max_size=4)
"""(number of a folder, name, number of what it points to)."""

# ---- what is written to disk

_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
KEYS = st.text("abc", min_size=1, max_size=8)
JSON = st.recursive(_SCALARS, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=20)

PREFIXES = st.lists(
    st.sampled_from(("module", "_orig_mod", "model", "backbone", "encoder_q", "net", "visual", "a_name_of_ones_own")),
    max_size=3,
).map(lambda words: "".join(f"{word}." for word in words))
"""Of the names of weights."""
CHECKPOINT_PATHS = st.lists(st.sampled_from(("state_dict", "model", "teacher", "ema", "checkpoint", "0")), max_size=3)
"""Keys above the weights."""
CHECKPOINT_KINDS = st.sampled_from(("zip", "legacy", "safetensors"))
EXTRA_WEIGHTS = st.dictionaries(
    st.sampled_from(("projection_head.0.weight", "queue", "decoder_blocks.0.norm.weight", "mask_token", "n_averaged")),
    st.just(torch.zeros(3, 3)),
)
"""Of heads and queues that no backbone has."""
BESIDE_WEIGHTS = st.dictionaries(
    st.sampled_from(("args", "epoch", "best")),
    st.sampled_from((argparse.Namespace(lr=0.1), 3, np.float64(0.7))),
)
"""What training scripts save with them."""

# ---- StyleGAN

XL_STAGES = st.lists(st.tuples(st.sampled_from([2, 2, 4]), st.integers(3, 6)), max_size=2)
"""(factor, layers) of the stages after the stem of a StyleGAN-XL."""


@st.composite
def filtered_maps(draw: st.DrawFn) -> tuple[Array, Array, Array | None, Array | None, dict[str, Any]]:
    """Maps, bias, filters and options of a filtered nonlinearity for which something is left."""
    random = np.random.default_rng(draw(SEEDS))
    up, down = draw(st.sampled_from([1, 2, 4])), draw(st.sampled_from([1, 2, 3]))
    taps, back = draw(st.sampled_from([None, 1, 3, 4, 8])), draw(st.sampled_from([None, 1, 2, 5]))
    height, width = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    lost = (taps or 1) - 1 + (back or 1) - 1
    before = draw(st.integers(-2, 9))
    after = draw(st.integers(max(-2, lost + 1 - before - min(height, width) * up), 9 + lost))
    radial = draw(st.booleans())
    maps = random.normal(size=(draw(st.integers(1, 2)), draw(st.integers(1, 3)), height, width))
    options = {
        "up": up,
        "down": down,
        "padding": (before, after),
        "gain": draw(st.sampled_from([1.0, math.sqrt(2), 3.0])),
        "slope": draw(st.sampled_from([0.2, 1.0, 0.0])),
        "clamp": draw(st.sampled_from([math.inf, 0.5, 256.0])),
    }
    up_filter = None if taps is None else random.normal(size=taps)
    down_filter = None if back is None else random.normal(size=(back, back) if radial else back)
    return maps, random.normal(size=maps.shape[1]), up_filter, down_filter, options


# ---- tables

NAMES = st.text(min_size=1, max_size=8)
"""Of models and layers, as they may be."""
_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "category": NAMES,
    "str": st.text(max_size=8),
    "bool": st.booleans(),
    **{f"int{width}": st.integers(-(2 ** (width - 1)), 2 ** (width - 1) - 1) for width in (32, 64)},
    **{f"float{width}": st.floats(width=width) for width in (32, 64)},
}


def table_rows(columns: Sequence[Column]) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    """Rows of a table with these columns; text where a column holds categories."""
    return st.lists(st.tuples(*(_VALUES[column.dtype] for column in columns)), max_size=5)

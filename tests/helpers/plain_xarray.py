"""What plain xarray must find in a store: every variable says what it is, and its numbers are right."""

from collections.abc import Iterator
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from storage.artifacts.artifact import BOOKKEEPING

INDEXED = {"image", "channel", "unit_a", "unit_b", "neighbour", "feature", "common", "half", "half_moment",
           "shape_image", "guidance", "term", "step", "frame"}  # fmt: skip
"""Dimensions with an index; the others are axes of pixels or of a latent, or positions in a packed matrix."""


def variables(tree: xr.DataTree) -> Iterator[tuple[str, xr.DataArray]]:
    """All variables of all groups, by path."""
    for node in tree.subtree:
        whole = node.to_dataset()
        for name in node.to_dataset(inherit=False).variables:
            yield f"{node.path.rstrip('/')}/{name}", whole[name].load()


def subsets(dimensions: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """All but the empty one."""
    return chain.from_iterable(combinations(dimensions, count) for count in range(1, len(dimensions) + 1))


def require_names(store: Path) -> None:
    """Require that a store, its groups and its variables say what they are."""
    tree = xr.open_datatree(str(store), engine="zarr")
    assert {"Conventions", "title", "summary", "fingerprint"} <= tree.attrs.keys(), store
    assert {"written", "moments", "candidates"}.isdisjoint(tree.dataset.variables)
    assert BOOKKEEPING in tree.children
    for name, variable in variables(tree):
        assert variable.attrs.get("long_name"), (store, name)
        assert variable.attrs.get("units"), (store, name)
        for dimension in INDEXED & set(variable.dims):
            assert BOOKKEEPING in name or dimension in variable.coords, (store, name, dimension)
    for node in tree.subtree:
        with xr.open_zarr(str(store), group=node.path, chunks=None) as alone:
            assert alone.attrs == node.attrs
            assert alone.variables.keys() >= node.to_dataset(inherit=False).variables.keys()
            for name, variable in alone.variables.items():
                assert variable.identical(node.to_dataset().variables[name]), (store, node.path, name)


def require_reductions(store: Path) -> None:
    """Require that mean, standard deviation and maximum over any dimensions are those of float64."""
    for name, variable in variables(xr.open_datatree(str(store), engine="zarr")):
        if not np.issubdtype(variable.dtype, np.number) and variable.dtype != bool:
            continue
        exact = variable.astype(np.float64)
        scale = float(np.nanmax(np.abs(exact.values), initial=0.0))
        for dimensions in subsets(variable.dims):
            for statistic in ("mean", "std", "max"):
                np.testing.assert_allclose(
                    getattr(variable, statistic)(dimensions).values,
                    getattr(exact, statistic)(dimensions).values,
                    rtol=1e-3,
                    atol=1e-6 * scale,
                    err_msg=f"{statistic} of {store}{name} over {dimensions}",
                )


def require_correlations(store: Path) -> None:
    """Require that correlations of the first entry along each dimension with the last are those of float64."""
    for name, variable in variables(xr.open_datatree(str(store), engine="zarr")):
        if not np.issubdtype(variable.dtype, np.floating) or BOOKKEEPING in name:
            continue
        for along in variable.dims:
            if not variable.sizes[along]:
                continue
            first, last = variable.isel({along: 0}, drop=True), variable.isel({along: -1}, drop=True)
            exact = [one.astype(np.float64) for one in (first, last)]
            for dimensions in subsets(first.dims):
                varies = np.logical_and(*(one.std(dimensions) > 1e-4 * abs(one).max(dimensions) for one in exact))
                np.testing.assert_allclose(
                    xr.corr(first, last, dim=dimensions).where(varies).values,
                    xr.corr(*exact, dim=dimensions).where(varies).values,
                    atol=1e-3,
                    err_msg=f"{store}{name} along {along} over {dimensions}",
                )

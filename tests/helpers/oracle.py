"""Slow, obvious readings of the definitions, in float64, for tests to compare with."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch

from rosetta.units import Units

Array = npt.NDArray[np.float64]


def textbook_pearson(maps_a: Array, maps_b: Array) -> Array:
    """(A, B) correlations of (image, A, y, x) and (image, B, y, x) maps, the textbook way.

    Both are upsampled to the larger grid per axis with torch in float64, all images and positions are joined and numpy
    correlates. Units that are constant give NaN.
    """
    size = [max(maps_a.shape[axis], maps_b.shape[axis]) for axis in (2, 3)]
    columns = []
    for maps in (maps_a, maps_b):
        upsampled = torch.nn.functional.interpolate(
            torch.from_numpy(np.asarray(maps, dtype=np.float64)),
            size=size,
            mode="bilinear",
            align_corners=False,
        )
        columns.append(upsampled.transpose(0, 1).flatten(1).numpy())
    with np.errstate(invalid="ignore", divide="ignore"):
        full = np.corrcoef(np.concatenate(columns))
    result = full[: len(columns[0]), len(columns[0]) :]
    for axis, values in enumerate(columns):
        constant = values.max(axis=1) == values.min(axis=1)
        result[constant if axis == 0 else slice(None), constant if axis == 1 else slice(None)] = np.nan
    return result


def neighbours(pearson: npt.NDArray[np.float32], k: int, same: bool = False) -> list[list[int]]:
    """KNN of every row by sorting python tuples: falling correlation, then rising index."""
    result = []
    for row, values in enumerate(pearson):
        candidates = [(-v, i) for i, v in enumerate(values.tolist()) if v == v and not (same and i == row)]
        result.append([i for _, i in sorted(candidates)[:k]])
    return result


def buddies(pearson: npt.NDArray[np.float32], k: int, same: bool = False) -> set[tuple[int, int, int, int]]:
    """(a, b, rank_ab, rank_ba) of every pair that is in each other's KNN."""
    of_a, of_b = neighbours(pearson, k, same), neighbours(pearson.T, k, same)
    return {
        (a, b, near.index(b) + 1, of_b[b].index(a) + 1) for a, near in enumerate(of_a) for b in near if a in of_b[b]
    }


def rosetta(pearsons: Mapping[str, npt.NDArray[np.float32]], k: int) -> list[tuple[int, list[int], float]]:
    """(anchor unit, strongest buddy per model, mean correlation), in order, from the definition."""
    found = {name: buddies(matrix, k) for name, matrix in pearsons.items()}
    rows = []
    for j in range(next(iter(pearsons.values())).shape[0]):
        mine = {name: [b for a, b, _, _ in pairs if a == j] for name, pairs in found.items()}
        if all(mine.values()):
            best = [min(mine[name], key=lambda b, n=name: (-float(pearsons[n][j, b]), b)) for name in pearsons]
            values = [float(pearsons[name][j, b]) for name, b in zip(pearsons, best, strict=True)]
            rows.append((j, best, float(np.mean(values))))
    return sorted(rows, key=lambda row: (-row[2], row[0]))


def components(anchor_units: Sequence[int], own: npt.NDArray[np.float32], k: int) -> set[frozenset[int]]:
    """Clusters by flooding the graph of buddies among the anchor units."""
    edges = {(a, b) for a, b, _, _ in buddies(own, k, same=True)}
    left, result = set(anchor_units), set()
    while left:
        cluster, frontier = set(), {left.pop()}
        while frontier:
            unit = frontier.pop()
            cluster.add(unit)
            near = {other for other in left if (unit, other) in edges or (other, unit) in edges}
            left -= near
            frontier |= near
        result.add(frozenset(cluster))
    return result


def exchanged_pearson(maps: Mapping[str, Array], a: Units, b: Units, images: int, offset: int) -> Array:
    """(unit_a, unit_b) correlations of image i of A with image i + offset of B, counted round among the first images.

    Means and standard deviations are those over all images, exchanged or not; maps are shifted by their own means.

    Parameters
    ----------
    maps
        By layer: (image, channel, y, x).
    """
    result = np.full((len(a), len(b)), np.nan)
    paired = (np.arange(images) + offset) % images
    for layer_a, rows in a.spans():
        for layer_b, columns in b.spans():
            size = [max(one, other) for one, other in zip(layer_a.grid, layer_b.grid, strict=True)]
            of_a, of_b = (_shifted(np.asarray(maps[layer.name], np.float64), size) for layer in (layer_a, layer_b))
            means, stds = ([getattr(one, name)(axis=(0, 2, 3)) for one in (of_a, of_b)] for name in ("mean", "std"))
            cross = np.einsum("nayx,nbyx->ab", of_a[:images], of_b[paired], optimize=True)
            covariance = cross / (images * size[0] * size[1]) - np.outer(*means)
            scale = np.outer(*stds)
            result[rows, columns] = np.where(scale > 1e-9, covariance / np.where(scale > 1e-9, scale, 1.0), np.nan)
    return result


def _shifted(maps: Array, size: Sequence[int]) -> Array:
    shifted = torch.from_numpy(maps - maps.mean(axis=(0, 2, 3), keepdims=True))
    upsampled = torch.nn.functional.interpolate(shifted, list(size), mode="bilinear", align_corners=False)
    return np.asarray(upsampled.numpy())

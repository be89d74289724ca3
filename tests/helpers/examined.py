"""What maps say of a match, by slow float64 readings of the definitions."""

import numpy as np
import numpy.typing as npt
import torch

Array = npt.NDArray[np.float64]


def examined(
    a: Array, b: Array, codes: npt.NDArray[np.int64] | None = None
) -> tuple[float, float, float, float, float]:
    """Correlation, influence, few positions, robust and within, of one pair of maps (image, y, x).

    Parameters
    ----------
    codes
        (image,) number of its class; an image below 0 is alone in its own. NaN within classes if left out.
    """
    on = _both_on_common(a, b)
    r = _correlation(*on)
    left_out = [_correlation(*(np.delete(one, image, axis=0) for one in on)) for image in range(len(a))]
    standard = [(one.astype(np.float64) - one.mean(dtype=np.float64)) / one.std(dtype=np.float64) for one in (a, b)]
    coarse = min(a.shape[1], b.shape[1]), min(a.shape[2], b.shape[2])
    products = np.prod([_pulled(one, coarse) for one in standard], axis=0).ravel()
    few = np.sort(products)[-int(np.ceil(0.001 * products.size)) :].sum() / products.sum()
    clipped = [np.minimum(one, np.quantile(one.astype(np.float64), 0.999)) for one in (a, b)]
    robust = _correlation(*_both_on_common(*clipped))
    return r, float(np.abs(np.subtract(left_out, r)).max()), few if r > 0 else np.nan, robust, _within(on, codes)


def _within(on: tuple[Array, Array], codes: npt.NDArray[np.int64] | None) -> float:
    if codes is None:
        return float("nan")
    alone = np.where(codes < 0, codes.max() + 1 + np.arange(len(codes)), codes)
    centred = [one.copy() for one in on]
    for one in centred:
        for code in set(alone.tolist()):
            one[alone == code] -= one[alone == code].mean(axis=0)
    return _correlation(*centred)


def _upsampled(maps: Array, grid: tuple[int, ...]) -> Array:
    values = torch.from_numpy(maps.astype(np.float64))[:, None]
    return torch.nn.functional.interpolate(values, grid, mode="bilinear", align_corners=False)[:, 0].numpy()


def _pulled(maps: Array, grid: tuple[int, int]) -> Array:
    """⟨maps, U e⟩ for the unit map `e` of every position of a grid that is no finer."""
    units = np.eye(grid[0] * grid[1]).reshape(-1, *grid)
    ways = _upsampled(units, maps.shape[1:]).reshape(len(units), -1)
    return (maps.reshape(len(maps), -1) @ ways.T).reshape(len(maps), *grid)


def _both_on_common(a: Array, b: Array) -> tuple[Array, Array]:
    grid = max(a.shape[1], b.shape[1]), max(a.shape[2], b.shape[2])
    return _upsampled(a, grid), _upsampled(b, grid)


def _correlation(a: Array, b: Array) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])

"""The table of one pair: what is said of its buddies, put together from what every tile found."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from rosetta.mining.buddies import merge_neighbours
from rosetta.mining.grid import common_grid
from rosetta.mining.groups import Pair
from rosetta.mining.trust.discoveries import q_values
from rosetta.mining.trust.pixels import partial_correlation
from storage.artifacts import tables
from storage.artifacts.activations import ActivationStore
from storage.artifacts.catalogue import BUDDIES, TRUST_OF_PAIR
from storage.artifacts.fingerprint import Fingerprint
from storage.filesystem.root import Root
from tasks.correlate.reading import PairTile
from tasks.trust.pair_worker import JUDGED, Nearest, Question, Verdict, profiles_of
from tasks.trust.panel_sides import ModelProfile

KEY = ("model_a", "unit_a", "layer_a", "channel_a", "model_b", "unit_b", "layer_b", "channel_b", "pearson")
COLUMNS = ("p_value", "q_value", "pearson_half_1", "pearson_half_2", "replicates", "pearson_held_out",
           "pearson_centred", "positional",
           "pearson_partial", "pixel_explained")  # fmt: skip
Float64 = npt.NDArray[np.float64]


def write_unjudged(root: Root, pair: Pair, fingerprint: Fingerprint) -> None:
    """Write the table of a pair that cannot be judged."""
    rows = _buddies(root, pair)
    _write(root, pair, fingerprint, rows, _unjudged(len(rows)))


def write_judged(
    root: Root,
    pair: Pair,
    fingerprint: Fingerprint,
    question: Question,
    tiles: Sequence[PairTile],
    verdicts: Sequence[Verdict],
) -> None:
    """Write the table of a pair, given what each of its tiles says."""
    rows, found = _buddies(root, pair), list(zip(tiles, verdicts, strict=True))
    profiles = profiles_of(root, pair, question)
    values = np.full((len(JUDGED), len(rows)), np.nan)
    for verdict in verdicts:
        values[:, verdict.buddies] = verdict.values
    judged = dict(zip(JUDGED, values, strict=True))
    pearson = rows["pearson"].to_numpy(np.float64)
    partial = _partial(profiles, rows)
    units = [len(profile.store.units) for profile in profiles]
    chosen = _chosen(found, question, pair[0] == pair[1], units)
    frame = _unjudged(len(rows)).assign(
        **judged,
        q_value=q_values(judged["p_value"], np.sum([verdict.p_counts for verdict in verdicts], axis=0)),
        replicates=chosen.all(axis=0),
        pearson_held_out=held_out(chosen, judged["pearson_half_1"], judged["pearson_half_2"]),
        positional=_went(pearson, judged["pearson_centred"]),
        pearson_partial=partial,
        pixel_explained=_went(pearson, partial),
    )
    _write(root, pair, fingerprint, rows, frame)


def _buddies(root: Root, pair: Pair) -> pd.DataFrame:
    buddies = tables.read(root, BUDDIES.path())
    return buddies[(buddies["model_a"] == pair[0]) & (buddies["model_b"] == pair[1])].reset_index(drop=True)


def _write(root: Root, pair: Pair, fingerprint: Fingerprint, rows: pd.DataFrame, judged: pd.DataFrame) -> None:
    frame = pd.concat([rows[list(KEY)], judged], axis=1)
    # Of the two alone: what else the run has is no part of the fingerprint.
    categories = tables.categories_of({model: ActivationStore.read(root, model).units for model in pair})
    tables.write(root, TRUST_OF_PAIR.path(*pair), frame, fingerprint, categories)


def _unjudged(count: int) -> pd.DataFrame:
    return pd.DataFrame(np.nan, range(count), COLUMNS).assign(replicates=np.zeros(count, dtype=bool))


def _went(pearson: Float64, left: Float64) -> Float64:
    """The share of a correlation that went; NaN where there was none above 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(pearson > 0, 1.0 - left / pearson, np.nan)


def held_out(chosen: npt.NDArray[np.bool_], half_1: Float64, half_2: Float64) -> Float64:
    """(buddy,) the correlation in the half that did not choose the pair; the mean of both where both halves choose it.

    A pair that is the best of many in some images correlates higher there than it would on others. The half that had
    no part in the choice has no such bias.

    Parameters
    ----------
    chosen
        (half, buddy) whether the pair is one of buddies in either half.
    half_1, half_2
        (buddy,) its correlation there.

    Returns
    -------
    (buddy,) float64
        NaN where neither half chooses it.
    """
    other = np.where(chosen, [half_2, half_1], 0.0)
    ways = chosen.sum(axis=0)
    with np.errstate(invalid="ignore"):
        return np.where(ways > 0, other.sum(axis=0) / ways, np.nan)


def _chosen(
    verdicts: Sequence[tuple[PairTile, Verdict]], question: Question, same: bool, units: Sequence[int]
) -> npt.NDArray[np.bool_]:
    """(half, buddy) whether a pair is one of buddies in either half."""
    both = np.ones((2, len(question.unit_a)), dtype=bool)
    for half in range(2):
        of_a = _nearest([(tile.spans[0].start, verdict.near_a[half]) for tile, verdict in verdicts], units[0], question)
        # Tiles run along the columns: for one span of columns the rows come by rising index, too.
        of_b = of_a
        if not same:
            of_b = _nearest(
                [(tile.spans[1].start, verdict.near_b[half]) for tile, verdict in verdicts], units[1], question
            )
        both[half] &= (of_a[question.unit_a] == question.unit_b[:, None]).any(axis=1)
        both[half] &= (of_b[question.unit_b] == question.unit_a[:, None]).any(axis=1)
    return both


def _nearest(parts: Sequence[tuple[int, Nearest]], units: int, question: Question) -> npt.NDArray[np.int32]:
    """(unit, k) the nearest neighbours out of all tiles; −1 where none, or none was asked for.

    Parameters
    ----------
    parts
        First unit of each tile on this side with what the tile found, by rising index of the other side.
    """
    result = np.full((units, question.neighbours), -1, dtype=np.int32)
    for start in dict.fromkeys(start for start, _ in parts):
        found = [nearest for first, nearest in parts if first == start]
        result[found[0].units] = merge_neighbours([one.found for one in found], question.neighbours).unit
    return result


def _partial(profiles: tuple[ModelProfile, ModelProfile], rows: pd.DataFrame) -> Float64:
    """(buddy,) partial correlations given the pixel features, pair of layers by pair of layers."""
    result = np.full(len(rows), np.nan)
    grid_a, grid_b = ({layer.name: layer.grid for layer in profile.store.units.layers} for profile in profiles)
    for layers, here in rows.groupby(["layer_a", "layer_b"]).indices.items():
        pairs = rows.iloc[here]
        common = common_grid(grid_a[layers[0]], grid_b[layers[1]])
        of_a, of_b = (
            profile.array(layer, "pixels")[:, profile.store.commons(layer).index(common)][pairs[channel].to_numpy()]
            for profile, layer, channel in zip(profiles, layers, ("channel_a", "channel_b"), strict=True)
        )
        features = profiles[0].features_on(common).covariance
        result[here] = partial_correlation(pairs["pearson"].to_numpy(np.float64), of_a, of_b, features)
    return result

"""How many units of a generator find themselves, where both runs of a join are of one generator over images apart."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

from rosetta.mining.join.itself import own_ranks
from storage.artifacts.catalogue import JOIN_ITSELF
from storage.artifacts.joined import StrengthStore
from tasks.join.inputs import JoinPlan

ALL = "all"
_WITHIN = 5

Flags = npt.NDArray[np.bool_]


def itself_frame(plan: JoinPlan, pairs: pd.DataFrame) -> pd.DataFrame:
    """A row per way through the pivots, layer and kind of units; of several runs, the first with the second.

    Parameters
    ----------
    pairs
        `tables/join_pairs.parquet`.
    """
    first = pairs[(pairs["model_b"] == plan.names[1]) & pairs["trusted"]]
    store = StrengthStore.read(plan.root, plan.names[0], plan.names[1])
    ways = {ALL: (plan.trained, False)}
    ways |= {pivot.name: ([number], pivot.control) for number, pivot in enumerate(plan.pivots)}
    rows = []
    for name, (pivots, control) in ways.items():
        ranks = np.concatenate([own_ranks(band, span.start) for span, band in store.bands(pivots)])
        for layer, of, chosen in _groups(plan, first["unit_a"].to_numpy()):
            found = ranks[chosen]
            # A unit without strength is constant, and no one could find it.
            found = found[found > 0]
            shares = [np.mean(found <= most) if len(found) else np.nan for most in (1, _WITHIN)]
            rows.append((name, control, layer, of, len(found), *shares))
    return pd.DataFrame(rows, columns=[column.name for column in JOIN_ITSELF.columns])


def _groups(plan: JoinPlan, of_trusted: npt.NDArray[np.integer]) -> Iterator[tuple[str, str, Flags]]:
    """Layers, and all of them together: name, which units, and (unit,) whether each is one of them."""
    units = plan.units(0)
    trusted = np.zeros(len(units), np.bool_)
    trusted[of_trusted] = True
    inside = {ALL: np.ones(len(units), np.bool_)}
    for layer, span in units.spans():
        inside[layer.name] = np.zeros(len(units), np.bool_)
        inside[layer.name][span] = True
    for layer_name, of_layer in inside.items():
        yield layer_name, ALL, of_layer
        yield layer_name, "trusted", of_layer & trusted

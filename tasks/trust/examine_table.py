"""The table of one pair: what the maps say of its buddies, put together from what every group found."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rosetta.mining.groups import Pair
from storage.artifacts import tables
from storage.artifacts.activations import ActivationStore
from storage.artifacts.catalogue import BUDDIES, EXAMINED
from storage.artifacts.fingerprint import Fingerprint
from storage.filesystem.root import Root
from tasks.trust.examine_worker import MEASURED, Found
from tasks.trust.pair_table import KEY


def write_examined(
    root: Root,
    pair: Pair,
    fingerprint: Fingerprint,
    notes: Sequence[str],
    parts: Sequence[dict[Pair, list[Found]]],
) -> None:
    """Write the table of a pair, given what was found of all of its buddies, or of none if they cannot be judged."""
    buddies = tables.read(root, BUDDIES.path())
    rows = buddies[(buddies["model_a"] == pair[0]) & (buddies["model_b"] == pair[1])].reset_index(drop=True)
    values = np.full((len(MEASURED), len(rows)), np.nan)
    for some in parts:
        for found in some[pair]:
            values[:, found.rows] = found.values
    frame = rows[list(KEY)].assign(**dict(zip(MEASURED, values, strict=True)))
    categories = tables.categories_of({model: ActivationStore.read(root, model).units for model in pair})
    more: dict[str, Any] = {"notes": list(notes)} if notes else {}
    tables.write(root, EXAMINED.path(*pair), frame, fingerprint, categories, **more)

"""What is named: concepts, by their anchor's unit in the strongest neuron, and the units of Rosetta neurons."""

import pandas as pd

from rosetta.errors import UserError
from storage.artifacts.catalogue import CLUSTERS, ROSETTA
from storage.run.data import RunData

KEYS = ["cluster", "model", "unit", "layer", "channel"]


def open_with_concepts(root: str) -> RunData:
    """A finished run.

    Raises
    ------
    UserError
        There is none, or it has no concepts.
    """
    run = RunData.open(root, needs=(ROSETTA, CLUSTERS))
    if not len(run.clusters):
        raise UserError(
            f"{run.root.shown} has no concepts to name; mine more images, or with a higher matching.neighbours"
        )
    return run


def concepts(run: RunData) -> pd.DataFrame:
    """(concept,) :data:`KEYS` of the unit whose map stands for each, by number."""
    own = run.rosetta[run.rosetta["model"] == run.anchor].sort_values("rosetta", kind="stable")
    return own.drop_duplicates("cluster").sort_values("cluster")[KEYS].reset_index(drop=True)


def units(run: RunData) -> pd.DataFrame:
    """(unit,) :data:`KEYS` of all units of Rosetta neurons, models in the order of the run, then by unit.

    The concept is that of the unit's strongest neuron.
    """
    rows = run.rosetta.sort_values("rosetta", kind="stable").drop_duplicates(["model", "unit"])
    order = rows["model"].map({model: number for number, model in enumerate(run.models)})
    return rows.assign(order=order).sort_values(["order", "unit"])[KEYS].reset_index(drop=True)

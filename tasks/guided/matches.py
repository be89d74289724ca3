"""A finished run whose generator is guided by its matches: loaded models, matches, statistics; nothing is mined."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from rosetta.errors import UserError
from rosetta.guidance.matches import Float64, Index, Matches, Statistics
from rosetta.guidance.weights import TESTED
from rosetta.zoo.device import resolve_device
from rosetta.zoo.model import Model
from storage.artifacts.catalogue import BUDDIES, CLUSTERS, ROSETTA, TRUST
from storage.filesystem.root import Root
from storage.run.data import RunData
from tasks.causes.models import loaded, of_thread
from tasks.dump.worker_weights import readable


@dataclass(frozen=True, eq=False)
class GuidedRun:
    """A finished run, as far as its generator can be guided by it."""

    data: RunData
    matches: Matches
    """All best buddies of the generator with the models that are no controls."""
    device: str
    """Where its models are loaded."""
    elsewhere: bool = False
    """Whether this is a worker, which may see weights in the root alone."""

    @classmethod
    def open(cls, root: Root, elsewhere: bool = False) -> "GuidedRun":
        """A run by its root.

        Raises
        ------
        UserError
            There is no run, it has no generator, or it is not finished.
        """
        data = RunData.open(root.url, needs=(BUDDIES, ROSETTA, CLUSTERS))
        if data.generator is None:
            raise UserError(
                f"run {root.shown} has no generator, so there are no latents to search; mine a recipe that has one"
            )
        rows = data.with_anchor(data.buddies, data.anchor)
        own = data.rosetta[data.rosetta["model"] == data.anchor]
        matches = Matches(
            statistics_of(data, data.anchor),
            {model: statistics_of(data, model) for model in data.targets},
            rows["unit_a"].to_numpy(np.intp),
            rows["model_b"].to_numpy(object),
            rows["unit_b"].to_numpy(np.intp),
            rows["pearson"].to_numpy(np.float64),
            {int(key): group["unit"].to_numpy(np.intp) for key, group in own.groupby("cluster")},
            _tested(data, rows),
        )
        return cls(data, matches, resolve_device(data.recipe.compute.device), elsewhere)

    @property
    def generator(self) -> Model:
        """The generator, loaded."""
        return self.model(self.data.anchor)

    def model(self, name: str) -> Model:
        """A model of the run, loaded, for this thread alone."""
        spec, mined = self.data.spec(name), self.data.stores[name].attributes.get("weights_sha256")
        if self.elsewhere and mined:
            spec = readable(self.data.root, spec, mined)
        return of_thread(loaded(spec, self.device))

    def statistics(self, name: str) -> Statistics:
        """The units of the generator or of a target, with their statistics over the run."""
        return self.matches.generator if name == self.data.anchor else self.matches.others[name]

    def strongest(self, name: str) -> dict[int, Index]:
        """By concept: the strongest buddies of its Rosetta neurons in a model, or the generator's own units."""
        rows = self.data.rosetta[self.data.rosetta["model"] == name]
        return {int(key): np.unique(group["unit"].to_numpy(np.intp)) for key, group in rows.groupby("cluster")}

    def require_targets(self, names: tuple[str, ...]) -> None:
        """
        Raises
        ------
        UserError
            One of them has no matches in the run.
        """
        for name in names:
            if name not in self.data.targets:
                raise UserError(
                    f"model {name!r} has no matches in {self.data.root.shown}; there are {', '.join(self.data.targets)}"
                )


def _tested(data: RunData, rows: pd.DataFrame) -> dict[str, Float64]:
    """(pair,) by column what the tests of trust measured of pairs of buddies; nothing where they were not made."""
    trust = data.optional(TRUST)
    if trust is None:
        return {}
    pair = ["unit_a", "model_b", "unit_b"]
    found = rows[pair].merge(trust.loc[trust["model_a"] == data.anchor, [*pair, *TESTED]], on=pair, how="left")
    return {name: found[name].to_numpy(np.float64) for name in TESTED}


def statistics_of(data: RunData, model: str) -> Statistics:
    """The units of a model of a run, with their statistics over it."""
    store = data.stores[model]
    peaks = [store.peaks(layer).mean(axis=0, dtype=np.float64) for layer in data.layers(model)]
    return Statistics(store.units, store.mean(), store.std(), np.concatenate(peaks))

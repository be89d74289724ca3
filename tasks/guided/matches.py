"""What mining left for steering the generator: loaded models, matches, statistics; read, never mined again."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from rosetta.errors import UserError
from rosetta.guidance.matches import Index, Matches, Statistics
from rosetta.recipe import ModelSpec, Recipe
from rosetta.zoo import is_generator, load
from rosetta.zoo.model import Model
from storage.artifacts import tables
from storage.artifacts.activations import ActivationStore
from storage.artifacts.catalogue import BUDDIES, ROSETTA
from storage.artifacts.provenance import require_run, stored_recipe
from storage.filesystem.root import Root


@dataclass(frozen=True)
class Steering:
    """A finished run, as far as its generator can be steered by it."""

    root: Root
    recipe: Recipe
    generator: ModelSpec
    matches: Matches
    """All best buddies of the generator with the models that are no controls."""
    rosetta: pd.DataFrame
    """The table of Rosetta neurons."""

    @property
    def models(self) -> tuple[str, ...]:
        """The discriminative models that the dictionary asks, in the order of the recipe."""
        return tuple(spec.name for spec in self.recipe.models if spec.name in self.matches.others)

    def spec(self, name: str) -> ModelSpec:
        """What the recipe says of a model."""
        return next(spec for spec in self.recipe.models if spec.name == name)

    def strongest(self, name: str) -> dict[int, Index]:
        """By cluster: the strongest buddies of its Rosetta neurons in a model, or the generator's own units."""
        rows = self.rosetta[self.rosetta["model"] == name]
        return {int(key): np.unique(group["unit"].to_numpy(np.intp)) for key, group in rows.groupby("cluster")}


def read_steering(root: Root) -> Steering:
    """What a run knows about its generator's matches.

    Raises
    ------
    UserError
        There is no run, it has no generator, or it is not finished.
    """
    require_run(root)
    recipe = stored_recipe(root)
    assert recipe is not None
    generators = [spec for spec in recipe.models if is_generator(spec)]
    if not generators:
        raise UserError(
            f"run {root.shown} has no generator, so there are no latents to search; mine a recipe that has one"
        )
    name = generators[0].name
    try:
        buddies, rosetta = tables.read(root, BUDDIES.path()), tables.read(root, ROSETTA.path())
        others = [spec.name for spec in recipe.models if spec.name != name and not spec.control]
        statistics = {model: _statistics(root, model) for model in (name, *others)}
    except FileNotFoundError:
        raise UserError(f"run {root.shown} is not finished; end it with rosetta mine first") from None
    rows = buddies[(buddies["model_a"] == name) & buddies["model_b"].isin(others)]
    own = rosetta[rosetta["model"] == name]
    matches = Matches(
        statistics.pop(name),
        statistics,
        rows["unit_a"].to_numpy(np.intp),
        rows["model_b"].to_numpy(object),
        rows["unit_b"].to_numpy(np.intp),
        rows["pearson"].to_numpy(np.float64),
        {int(key): group["unit"].to_numpy(np.intp) for key, group in own.groupby("cluster")},
    )
    return Steering(root, recipe, generators[0], matches, rosetta)


def require_clusters(steering: Steering, clusters: "tuple[int, ...]") -> None:
    """
    Raises
    ------
    UserError
        One of them is not in the dictionary.
    """
    known = steering.matches.clusters
    for cluster in clusters:
        if cluster not in known:
            held = f"its clusters are 0 to {max(known)}" if known else "it has none"
            raise UserError(f"cluster {cluster} is not in the dictionary of {steering.root.shown}; {held}")


def require_models(steering: Steering, names: "tuple[str, ...]") -> None:
    """
    Raises
    ------
    UserError
        One of them has no matches in the run.
    """
    for name in names:
        if name not in steering.models:
            raise UserError(f"model {name!r} has no matches in {steering.root.shown}; there are "
                            f"{', '.join(steering.models)}")  # fmt: skip


@lru_cache(maxsize=16)
def loaded(spec: ModelSpec, device: str) -> Model:
    """A model that is loaded once a process, however many batches look through it."""
    return load(spec, device)


def loaded_all(steering: Steering, names: "tuple[str, ...]", device: str) -> Mapping[str, Model]:
    """Some models by name."""
    return {name: loaded(steering.spec(name), device) for name in names}


def _statistics(root: Root, model: str) -> Statistics:
    store = ActivationStore.read(root, model)
    peaks = [store.peaks(layer.name).mean(axis=0, dtype=np.float64) for layer in store.units.layers]
    return Statistics(store.units, store.mean(), store.std(), np.concatenate(peaks))

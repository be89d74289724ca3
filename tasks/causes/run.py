"""A finished run whose models are intervened on: statistics of its units, models as they are fast, its images."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rosetta.errors import UserError
from rosetta.guidance.ablation import Scale
from rosetta.model_spec import ModelSpec
from rosetta.zoo import load
from rosetta.zoo.device import resolve_device
from rosetta.zoo.model import Model
from storage.artifacts import tables
from storage.artifacts.catalogue import CLUSTERS, ROSETTA, UNITS
from storage.artifacts.fingerprint import Fingerprint, fingerprint, format_of
from storage.filesystem.root import Root
from storage.run.data import RunData

Index = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class CausesRun:
    """A finished run, as far as its units can be intervened on."""

    data: RunData
    device: str

    @classmethod
    def open(cls, root: Root) -> "CausesRun":
        """A run by its root.

        Raises
        ------
        UserError
            There is no run, or it is not finished.
        """
        data = RunData.open(root.url, needs=(ROSETTA, CLUSTERS, UNITS))
        return cls(data, resolve_device(data.recipe.compute.device))

    def model(self, name: str) -> Model:
        """A model of the run, loaded."""
        return _loaded(self.data.spec(name), self.device)

    def scale(self, name: str) -> Scale:
        """The units of a model with their statistics over the run."""
        store = self.data.stores[name]
        return Scale(store.units, store.mean(), store.std())

    @property
    def lookers(self) -> tuple[str, ...]:
        """The discriminative models of the dictionary, the anchor among them where it is one."""
        return self.data.targets if self.data.generator else (self.data.anchor, *self.data.targets)

    def chosen(self, asked: Sequence[str] | None) -> tuple[str, ...]:
        """The discriminative models that take part.

        Raises
        ------
        UserError
            One of those that are asked for has no part in the dictionary.
        """
        there = self.lookers
        for name in asked or ():
            if name not in there:
                raise UserError(
                    f"--models {name}: it has no part in the dictionary of {self.data.root.shown}; "
                    f"there are {', '.join(there)}"
                )
        return there if asked is None else tuple(name for name in there if name in asked)

    def images(self, count: int) -> Index:
        """(image,) positions in the stores of so many images, evenly spread.

        Raises
        ------
        UserError
            There are fewer.
        """
        there = self.data.pictures.count
        if count > there:
            raise UserError(f"--images {count}: the run keeps {there} images; give {there} or fewer")
        return np.arange(count) * there // count

    def fingerprint(self, stage: str, **depends: Any) -> Fingerprint:
        """Of what is measured on the dictionary of the run."""
        dictionary = tables.attributes(self.data.root, ROSETTA.path())
        made = fingerprint(stage, dictionary=dictionary.get("fingerprint"), **depends)
        return made.in_format(format_of(dictionary))


@lru_cache(maxsize=16)
def _loaded(spec: ModelSpec, device: str) -> Model:
    """A model that is loaded once a process. It is nobody else's: its values differ from others' by rounding."""
    model = load(spec, device)
    if model.device.type == "cpu":
        # On processors, networks of depthwise convolutions take half the time so.
        model.module.to(memory_format=torch.channels_last)
    return model

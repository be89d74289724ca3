"""A finished run whose models are intervened on: statistics of its units, models as they are fast, its images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from rosetta.errors import UserError
from rosetta.guidance.ablation import Scale
from rosetta.zoo.device import resolve_device
from rosetta.zoo.model import Model
from storage.artifacts.catalogue import CLUSTERS, ROSETTA, UNITS
from storage.artifacts.dictionary import units_sha256
from storage.artifacts.fingerprint import Fingerprint, fingerprint
from storage.filesystem.root import Root
from storage.run.data import RunData
from tasks.causes.models import loaded, of_thread
from tasks.dump.worker_weights import readable

Index = npt.NDArray[np.intp]
_AT_ONCE, _AT_ONCE_ON_GPU = 4, 32
"""Interventions, where nobody says how many. Of more, maps of convolutional networks no longer stay close to a core:
measured, 16 at once take a sixth more of its time than 4."""


@dataclass(frozen=True, eq=False)
class CausesRun:
    """A finished run, as far as its units can be intervened on."""

    data: RunData
    device: str
    elsewhere: bool = False
    """Whether this is a worker, which may see weights in the root alone."""
    _scales: dict[str, Scale] = field(default_factory=dict, repr=False)
    """Those that were read."""

    @classmethod
    def open(cls, root: Root, elsewhere: bool = False) -> "CausesRun":
        """A run by its root.

        Raises
        ------
        UserError
            There is no run, or it is not finished.
        """
        data = RunData.open(root.url, needs=(ROSETTA, CLUSTERS, UNITS))
        return cls(data, resolve_device(data.recipe.compute.device), elsewhere)

    def batch(self, asked: int | None) -> int:
        """How many interventions run at once: what is asked for, else what suits the device."""
        return asked or (_AT_ONCE if self.device == "cpu" else _AT_ONCE_ON_GPU)

    def model(self, name: str) -> Model:
        """A model of the run, loaded, for this thread alone.

        Raises
        ------
        UserError
            It is not the one that was mined.
        """
        store, spec = self.data.stores[name], self.data.spec(name)
        mined = store.attributes.get("weights_sha256")
        model = loaded(readable(self.data.root, spec, mined) if self.elsewhere and mined else spec, self.device)
        if mined not in (None, model.weights_sha256) or store.units != model.units:
            raise UserError(
                f"{name}: its weights or layers are not those that were mined in {self.data.root.shown}; restore them,"
                " or mine again"
            )
        return of_thread(model)

    def scale(self, name: str) -> Scale:
        """The units of a model with their statistics over the run."""
        if name not in self._scales:
            store = self.data.stores[name]
            self._scales[name] = Scale(store.units, store.mean(), store.std())
        return self._scales[name]

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

    def fingerprint(
        self, stage: str, rows: pd.DataFrame, models: Sequence[str], images: Index, settings: Mapping[str, Any]
    ) -> Fingerprint:
        """Of what is measured on units of the dictionary.

        It is about the units, their statistics and the images themselves, and so holds while these do: another
        judgement of the same matches changes nothing about what they cause.

        Parameters
        ----------
        rows
            Of the table of Rosetta neurons: those that are measured on.
        models
            Those that take part.
        images
            Positions in the stores.
        """
        return fingerprint(
            stage,
            settings=dict(settings),  # first, as the first difference is what people are told
            units_sha256=units_sha256(rows),
            **self.seen(models, images),
        )

    def seen(self, models: Sequence[str], images: Index) -> dict[str, Any]:
        """What a fingerprint says of the statistics of all units of some models, and of some images."""
        pictures = self.data.pictures
        parts = [pictures.latents if self.data.generator else pictures.pixels, pictures.classes]
        values = [part(slice(image, image + 1)) for image in map(int, images) for part in parts]
        scales = {name: self.scale(name) for name in models}
        return {
            "models": {name: _sha256(scale.mean.tobytes(), scale.std.tobytes()) for name, scale in scales.items()},
            "images_sha256": _sha256(*(one.tobytes() for one in values if one is not None)),
        }


def _sha256(*parts: bytes) -> str:
    digest = sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()

"""The settings of `rosetta ablate`: fields of forms, options of the command."""

import re

from pydantic import AliasChoices, Field, field_validator, model_validator

from rosetta.guidance.ablation import Intervention
from rosetta.guidance.edit_text import box_of
from rosetta.guidance.edits import WHOLE
from rosetta.strict import Strict

_NEURONS = re.compile(r"(\d+)(?::(\d+))?")


class Looking(Strict):
    """What both kinds of interventions have."""

    models: tuple[str, ...] | None = Field(
        None, min_length=1, description="Discriminative models that take part. Default: all of the dictionary."
    )
    images: int = Field(16, ge=1, description="Images of the run, evenly spread.")
    seed: int = Field(0, ge=0, description="Seed of the draw of random units.")
    batch: int | None = Field(
        None, ge=1, le=4096, description="Interventions that run at once. Default: 4 on a processor, 32 on a GPU."
    )


class Ablation(Looking):
    """Intervene on units of the generator, and look at what the discriminative models see."""

    neurons: tuple[str, ...] | None = Field(
        None, min_length=1, description="Rosetta neurons: numbers (7) or ranges (0:20). Default: all."
    )
    trusted: bool = Field(False, description="Only the trusted ones among them.")
    raised: float | None = Field(
        None,
        gt=0,
        validation_alias=AliasChoices("raise", "raised"),
        serialization_alias="raise",
        description="Raise units by so many standard deviations instead of setting them to their mean.",
    )
    box: str | None = Field(
        None, description="X0,Y0,X1,Y1, in fractions of the image, in which they are raised. Default: everywhere."
    )
    random: int = Field(40, ge=0, description="Random units of each layer of the generator to compare with.")

    @field_validator("neurons")
    @classmethod
    def _are_numbers(cls, neurons: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for text in neurons or ():
            found = _NEURONS.fullmatch(text)
            if found is None or (found[2] and int(found[2]) <= int(found[1])):
                raise ValueError(f"{text!r} is no number of a neuron, like 7, and no range of them, like 0:20")
        return neurons

    @model_validator(mode="after")
    def _box_is_one_to_raise_in(self) -> "Ablation":
        if self.box is not None:
            if self.raised is None:
                raise ValueError("--box says where units are raised; add --raise and by how many standard deviations")
            box_of(self.box, "--box")
        return self

    @property
    def intervention(self) -> Intervention:
        """What is done to a unit."""
        return Intervention(self.raised, WHOLE if self.box is None else box_of(self.box, "--box"))

    @property
    def ranges(self) -> list[range] | None:
        """The neurons that are named, None for all."""
        if self.neurons is None:
            return None
        found = [_NEURONS.fullmatch(text) for text in self.neurons]
        return [range(int(one[1]), int(one[2] or int(one[1]) + 1)) for one in found if one is not None]


class Silencing(Looking):
    """Set the units of concepts to their mean in the discriminative models, and look at what these put out."""

    concepts: tuple[int, ...] | None = Field(
        None, min_length=1, description="Concepts whose units are silenced. Default: the ten largest."
    )
    sets: int = Field(20, ge=0, le=10_000, description="Random sets of as many units to compare with.")

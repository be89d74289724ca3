"""The settings of an inversion, of Table 1 and of an edit: fields of forms, options of the command."""

from typing import Literal, Self

from pydantic import (
    AliasChoices,
    Field,
    FieldSerializationInfo,
    field_serializer,
    field_validator,
    model_validator,
)

from rosetta.guidance.edit_text import box_of, parse_edits
from rosetta.guidance.edits import Box, Edit
from rosetta.guidance.fade import CONSTANT, Fade, Shape
from rosetta.guidance.weights import Weighing, require_together
from rosetta.recipe import Name
from rosetta.strict import Strict

_FADING_BETA, _CONSTANT_BETA = 0.3, 0.01
"""β where none is given; docs/results.md says what they were chosen on."""


class Guided(Strict):
    """What every search for latents has: a name, images, and how long and from where it searches."""

    name: Name
    images: tuple[str, ...] = Field((), description="Indices of the run (7, 0:32), new:N, paths, or globs.")
    file_class: int | None = Field(
        None,
        ge=0,
        validation_alias=AliasChoices("class", "file_class"),
        serialization_alias="class",
        description="Class of image files, for a conditional generator. Default: the only class in the recipe.",
    )
    steps: int = Field(300, ge=1, le=100_000, description="Optimisation steps (Adam).")
    batch: int = Field(16, ge=1, le=4096, description="Images optimised at once.")
    seed: int = Field(0, ge=0, description="Seed of the starting latents.")


class Weighed(Guided):
    """What matches count, and for how long they guide."""

    weights: tuple[Weighing, ...] = Field(
        (),
        description="What matches count: by `correlation` or `trust`, and so that each `layer` of the generator or"
        " each `concept` counts the same. Default: all matches alike.",
    )
    schedule: Shape = Field("linear", description="How beta fades over the steps.")
    fade: float = Field(0.35, gt=0, le=1, description="Share of the steps at which a fading beta reaches 0.")

    @field_validator("weights")
    @classmethod
    def _together(cls, names: tuple[Weighing, ...]) -> tuple[Weighing, ...]:
        require_together(names)
        return () if names == ("none",) else names

    @model_validator(mode="after")
    def _fades(self) -> Self:
        if self.schedule == "constant" and "fade" in self.model_fields_set and self.fade != 1:
            raise ValueError("fade says when a fading beta reaches 0; leave it out, or give another schedule")
        return self


class Inversion(Weighed):
    """Find latents whose images, and whose maps, are those of given images."""

    name: Name = Field("inversion", description="Name of the result, saved as inversions/NAME.")
    rate: float = Field(
        0.4, gt=0, le=10, description="Peak learning rate. It rises over 5 % of steps and falls over 25 %."
    )
    rec: str = Field(
        "pixels",
        description="What images are compared by: `pixels`, `none`, `lpips`, or a model of the run.",
    )
    alpha: float = Field(0.001, ge=0, description="Weight of the distance of the latents from their mean.")
    beta: float | None = Field(
        None,
        ge=0,
        description="Weight of the agreement with the matches. 0 ignores them. Default: 0.3 where it fades, 0.01 where"
        " it stays.",
    )
    space: Literal["z", "w", "w+"] = Field("z", description="Latent space. `w` and `w+` need a style-based generator.")
    models: tuple[str, ...] | None = Field(None, description="Models whose matches guide. Default: all.")
    clusters: tuple[int, ...] | None = Field(
        None,
        validation_alias=AliasChoices("concepts", "clusters"),  # `clusters` is the name of earlier versions
        serialization_alias="concepts",
        description="Concepts that guide. Default: all matches.",
    )
    above: float | None = Field(None, ge=-1, le=1, description="Use only matches with at least this correlation.")
    restarts: int = Field(1, ge=1, le=1024, description="Starts per image. The one with the best objective is kept.")
    starts: Literal["random", "mean", "nearest", "mixed"] = Field(
        "random",
        description="Where a search starts: `random` latents, the `mean` of the space, the mined images `nearest` to"
        " the image by their maps, or `mixed`.",
    )
    start_count: int | None = Field(
        None, ge=1, le=1024, description="Starts per image that are told apart. Default: as many as restarts."
    )
    start_steps: int = Field(
        10, ge=1, le=10_000, description="Steps of each start before the worse half of them is left."
    )
    high: str | None = Field(
        None,
        description="Box X0,Y0,X1,Y1, in fractions of the image, in which the concepts are made high. Replaces images.",
    )
    lpips: str | None = Field(
        None, description="NET:WEIGHTS, for example alex:alexnet.pth. Adds the metric LPIPS and allows rec = lpips."
    )
    judge: str | None = Field(
        None,
        description="MODEL=WEIGHTS of a discriminative model outside of the run. Adds its distance as a metric.",
    )

    @model_validator(mode="after")
    def _asks_for_something(self) -> "Inversion":
        if self.high is not None:
            if self.images or not self.clusters:
                raise ValueError("--high needs --concepts and takes no images; add --concepts and leave the images out")
            box_of(self.high)
        elif self.rec == "none" and self.beta == 0:
            raise ValueError("rec = none and beta = 0 leave nothing to optimise; change one of them")
        if self.high is not None and self.weights:
            raise ValueError("--high asks units for maps, with no matches to weigh; leave weights out")
        if "schedule" in self.model_fields_set and self.schedule != self.beta_fade.shape:
            raise ValueError("nothing is left to optimise once beta has faded; leave schedule out, or give rec")
        if self.start_count is not None and self.start_count < self.restarts:
            raise ValueError("start_count is below restarts, of which all are searched; raise it")
        if self.starts == "mean" and self.candidates > 1:
            raise ValueError("starts = mean is one start; leave start_count and restarts out, or use mixed")
        if self.starts == "mixed" and self.candidates < 3:
            raise ValueError("starts = mixed takes at least 3 starts; give start_count = 16, for example")
        if self.rec == "lpips" and self.lpips is None:
            raise ValueError("rec = lpips needs the weights of a backbone; give --lpips alex:FILE")
        return self

    @property
    def beta_fade(self) -> Fade:
        """Of β: constant, whatever the schedule, where there is nothing else to optimise."""
        alone = self.rec == "none" or self.high is not None
        return CONSTANT if alone or self.schedule == "constant" else Fade(self.schedule, self.fade)

    @property
    def first_beta(self) -> float:
        """β before it fades."""
        if self.beta is not None:
            return self.beta
        return _CONSTANT_BETA if self.beta_fade == CONSTANT else _FADING_BETA

    @field_serializer("beta", "schedule", "fade")
    def _in_effect(self, _: object, field: FieldSerializationInfo) -> object:
        """As the search goes by it."""
        fade = self.beta_fade
        return {"beta": self.first_beta, "schedule": fade.shape, "fade": fade.until}[field.field_name]

    @property
    def candidates(self) -> int:
        """Starts per image."""
        return self.start_count or self.restarts

    @property
    def box(self) -> Box | None:
        """Where concepts are asked to be high."""
        return None if self.high is None else box_of(self.high)


class Table(Weighed):
    """The paper's Table 1 on the models of a run: reconstruction alone, with the matches of each model, with all.

    One more row has all matches with weights and a schedule.
    """

    name: Name = Field("table1", description="Name of the result, saved as inversions/NAME.")
    images: tuple[str, ...] = Field(("new:32",), description="Images to report on: indices, new:N, paths, or globs.")
    tuning: int = Field(16, ge=1, description="Number of other new images, on which the coefficients are chosen.")
    rates: tuple[float, ...] = Field((0.2, 0.4, 0.8), min_length=1, description="Learning rates to choose from.")
    alphas: tuple[float, ...] = Field((0.0003, 0.001, 0.003), min_length=1, description="Weights alpha to choose from.")
    betas: tuple[float, ...] = Field((0.003, 0.01, 0.03), min_length=1, description="Weights beta to choose from.")
    fading_betas: tuple[float, ...] = Field(
        (0.03, 0.1, 0.3), min_length=1, description="The same for the row in which beta fades."
    )
    lpips: str | None = Field(None, description="NET:WEIGHTS, for example alex:alexnet.pth. Adds the metric LPIPS.")
    judge: str | None = Field(
        None,
        description="MODEL=WEIGHTS of a discriminative model outside of the run. Adds its distance as a metric.",
    )

    @field_validator("rates", "alphas", "betas", "fading_betas")
    @classmethod
    def _positive(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if any(value < 0 for value in values):
            raise ValueError("a coefficient is below 0; give numbers from 0")
        return values


class Editing(Guided):
    """Change the maps of Rosetta neurons, and find the latents that make the changed maps."""

    name: Name = Field("edit", description="Name of the result, saved as edits/NAME.")
    images: tuple[str, ...] = Field(
        min_length=1, description="Indices of the run (7, 0:32), new:N, paths, or globs. Files are inverted first."
    )
    edits: tuple[tuple[str, str], ...] = Field(
        min_length=1, description="Pairs of an edit and its value, in order, for example [shift, '0.1,0']."
    )
    rest: float = Field(1.0, ge=0, description="Weight of the maps that should stay, relative to those that change.")
    near: float = Field(0.01, ge=0, description="Weight of the squared distance from the latents before the edit.")
    rate: float = Field(0.05, gt=0, le=10, description="Peak learning rate.")

    @property
    def parsed(self) -> tuple[Edit, ...]:
        """The edits as functions on maps."""
        return parse_edits(self.edits)

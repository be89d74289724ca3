"""What people can ask of an inversion and of an edit."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from rosetta.guidance.edit_text import box_of, parse_edits
from rosetta.guidance.edits import Box, Edit
from rosetta.recipe import Name
from rosetta.strict import Strict

FileClass = Annotated[
    int | None, Field(ge=0, alias="class", description="Class of files, of a generator with classes.")
]


class Descending(Strict):
    """How latents are searched."""

    steps: int = Field(300, ge=1, le=100_000, description="Of Adam.")
    rate: float = Field(0.4, gt=0, le=10, description="Its learning rate at the plateau: 5 % rise, 25 % cosine fall.")
    batch: int = Field(16, ge=1, le=4096, description="Images that are optimised at once.")
    seed: int = Field(0, ge=0, description="Of the latents where the search begins.")


class Inversion(Descending):
    """Find latents whose images, and whose maps, are those of given images."""

    name: Name = Field("inversion", description="Artifacts go to inversions/NAME.")
    images: tuple[str, ...] = Field((), description="Indices of the run (7, 0:32), new:N, paths or globs.")
    file_class: FileClass = None
    rec: str = Field("pixels", description="`pixels`, `none`, `lpips`, or a discriminative model of the run.")
    alpha: float = Field(0.001, ge=0, description="Weight of L_reg.")
    beta: float = Field(0.01, ge=0, description="Weight of L_act.")
    space: Literal["z", "w", "w+"] = Field("z", description="Latent space that is searched.")
    models: tuple[str, ...] | None = Field(None, description="Whose buddies guide; left out: all.")
    clusters: tuple[int, ...] | None = Field(None, description="Concepts that guide; left out: all buddies.")
    above: float | None = Field(None, ge=-1, le=1, description="Only buddies with at least this correlation.")
    restarts: int = Field(1, ge=1, le=1024, description="Starts for each image; the best by the objective is kept.")
    high: str | None = Field(None, description="Instead of images: ask the concepts to be high inside this box.")
    lpips: str | None = Field(None, description="`alex:FILE`: with these weights LPIPS is measured, or is `rec`.")

    @model_validator(mode="after")
    def _asks_for_something(self) -> "Inversion":
        if self.high is not None:
            if self.images or not self.clusters:
                raise ValueError("high takes concepts and no images: give --concepts, and leave the images out")
            box_of(self.high)
        elif self.rec == "none" and self.beta == 0:
            raise ValueError("rec = none and beta = 0 leave nothing to optimise; give one of them")
        if self.rec == "lpips" and self.lpips is None:
            raise ValueError("rec = lpips needs a backbone's weights: give --lpips alex:FILE")
        return self

    @property
    def box(self) -> Box | None:
        """Where concepts are asked to be high."""
        return None if self.high is None else box_of(self.high)


class Table(Strict):
    """The paper's Table 1 on the models of a run: reconstruction alone, with the matches of each model, with all."""

    name: Name = "table1"
    images: tuple[str, ...] = Field(("new:32",), description="Images that are reported on.")
    file_class: FileClass = None
    tuning: int = Field(16, ge=1, description="Further new images, on which the coefficients are chosen.")
    rates: tuple[float, ...] = Field((0.2, 0.4, 0.8), min_length=1)
    alphas: tuple[float, ...] = Field((0.0003, 0.001, 0.003), min_length=1)
    betas: tuple[float, ...] = Field((0.003, 0.01, 0.03), min_length=1)
    steps: int = Field(300, ge=1, le=100_000)
    batch: int = Field(16, ge=1, le=4096)
    seed: int = Field(0, ge=0)
    lpips: str | None = None

    @field_validator("rates", "alphas", "betas")
    @classmethod
    def _positive(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if any(value < 0 for value in values):
            raise ValueError("a coefficient is below 0; give numbers from 0")
        return values


class Editing(Descending):
    """Change the maps of Rosetta neurons, and find the latents that make the changed maps."""

    name: Name = Field("edit", description="Artifacts go to edits/NAME.")
    images: tuple[str, ...] = Field(min_length=1, description="Indices of the run, new:N, paths or globs.")
    file_class: FileClass = None
    edits: tuple[tuple[str, str], ...] = Field(min_length=1, description="In order, like (shift, '0.1,0').")
    rest: float = Field(1.0, ge=0, description="Weight of the maps that are asked to stay, against those that change.")
    near: float = Field(0.01, ge=0, description="Weight of the squared distance from the latents before the edit.")
    steps: int = Field(300, ge=1, le=100_000, description="Of Adam.")
    rate: float = Field(0.05, gt=0, le=10, description="Its learning rate at the plateau.")

    @property
    def parsed(self) -> tuple[Edit, ...]:
        """The edits as functions on maps."""
        return parse_edits(self.edits)

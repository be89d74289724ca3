"""One model of a recipe: its weights, its places, and how it sees images."""

from collections.abc import Iterable
from math import isfinite
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue

from rosetta import prompts as texts
from rosetta.fields import Name, Place, text
from rosetta.strict import Strict

_SHA256 = "give the 64 lower-case hexadecimal digits that sha256sum prints"


def _on_scale_of_one(value: float) -> float:
    if not -10 <= value <= 10:
        raise ValueError(f"{value:g} is not on the scale 0 to 1; divide values from 0 to 255 by 255")
    return value


def _both_sides(size: Any) -> Any:
    return (size, size) if isinstance(size, int) and not isinstance(size, bool) else size


def _or_none(options: Any) -> Any:
    return None if options == {} else options


def _finite(options: Any) -> Any:
    """Fingerprints compare values, and NaN is equal to nothing."""
    inside: Iterable[Any] = options.values() if isinstance(options, dict) else options
    for value in inside:
        if isinstance(value, float) and not isfinite(value):
            raise ValueError(f"{value} is not a number that options can have")
        if isinstance(value, dict | list):
            _finite(value)
    return options


def _timesteps(given: Any) -> Any:
    """One by one, as an error of a union names its alternatives and not what is wrong."""
    several = given if isinstance(given, list | tuple) else (given,)
    for one in several:
        if isinstance(one, bool) or not isinstance(one, int) or one < 0:
            raise ValueError(f"{one!r} is not a timestep; give a whole number from 0, or a list of them")
        if several.count(one) > 1:
            raise ValueError(f"it has {one} twice; name each timestep once")
    if not several:
        raise ValueError("the list is empty; name at least one timestep")
    return given


Colour = Annotated[float, AfterValidator(_on_scale_of_one)]
Colours = tuple[Colour, Colour, Colour]
Deviation = Annotated[float, Field(gt=0), AfterValidator(_on_scale_of_one)]
Deviations = tuple[Deviation, Deviation, Deviation]
Side = Annotated[int, Field(ge=1, le=4096)]
Size = Annotated[tuple[Side, Side], BeforeValidator(_both_sides)]
Time = Annotated[float, Field(ge=0, le=1)]
Timesteps = Annotated[int | tuple[int, ...], BeforeValidator(_timesteps)]
Options = Annotated[dict[str, JsonValue], AfterValidator(_finite)]
Sha256 = Annotated[str, text(r"[0-9a-f]{64}", f"not a SHA-256; {_SHA256}")]


class Condition(Strict):
    """Conditioning of a model. Each family takes some of these fields and refuses the others."""

    classes: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
        None,
        min_length=1,
        description="Classes of a generator's images, in turn, or numbers of its prompts, from 0. Default: drawn at "
        "random; all prompts.",
    )
    truncation: float | None = Field(
        None, gt=0, le=1, description="Truncation ψ, less variety for more fidelity. Default: 1, full variety."
    )
    bound: float | None = Field(
        None, gt=0, le=10, description="Number of standard deviations at which the normal latents are truncated."
    )
    steps: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="Denoising steps of a diffusion model. Default: 50; with prompts, those of its pipeline.",
    )
    guidance: float | None = Field(
        None,
        ge=1,
        le=100,
        description="Guidance of a diffusion model, classifier-free or embedded. Default: 1, none; with prompts, that "
        "of its pipeline; of `pmf`, as published.",
    )
    prompts: Annotated[tuple[str, ...], BeforeValidator(texts.given)] | None = Field(
        None,
        min_length=1,
        description="Prompts of a generator's images, in turn: a list, or a text file with one on each line.",
    )
    size: Size | None = Field(
        None,
        description="Size of the images of a diffusion model with prompts: side in pixels, or [height, width]. "
        "Default: that of its pipeline.",
    )
    timestep: Timesteps | None = Field(
        None,
        description="Makes a diffusion model discriminative: it sees each image once, noised to this training step; of "
        "a list, once at each, and layers are named by it.",
    )
    interval: tuple[Time, Time] | None = Field(
        None, description="Times, 0 (image) to 1 (noise), between which a `pmf` is guided. Default: as published."
    )
    noise: float | None = Field(
        None, gt=0, le=100, description="Standard deviation of the noise of a `pmf`. Default: as published, or 1."
    )

    @property
    def given(self) -> tuple[str, ...]:
        """Names of what is not left out."""
        return tuple(name for name in type(self).model_fields if getattr(self, name) is not None)

    @property
    def timesteps(self) -> tuple[int, ...]:
        """Those of :attr:`timestep`, one or several; none of a generator."""
        if self.timestep is None:
            return ()
        return self.timestep if isinstance(self.timestep, tuple) else (self.timestep,)

    @property
    def identity(self) -> dict[str, Any]:
        """What decides about a model, by name, as stores and fingerprints keep it: of prompts a digest."""
        values = self.model_dump(mode="json", exclude_none=True)
        return values if self.prompts is None else {**values, "prompts": texts.digest(self.prompts)}


class SparseAutoencoder(Strict):
    """Features of a sparse autoencoder that reads the maps at one place of a model."""

    place: str = Field(min_length=1, description="The place whose maps it reads, `blocks.9` say.")
    weights: Place = Field(
        description="A `.safetensors` file, a folder as SAELens or ViT-Prisma saves it, or `random:<seed>`."
    )
    sha256: Sha256 | None = Field(None, description="Required SHA-256 of the `.safetensors` file.")
    name: Name = Field("sae", description="What its layer is called behind the place: `blocks.9@sae`.")
    activation: Literal["relu", "topk", "jumprelu"] | None = Field(
        None, description="What makes features of pre-activations. Default: what the file says."
    )
    k: int | None = Field(None, ge=1, description="Features that are active at a position, of `topk`.")
    threshold: float | None = Field(
        None, ge=0, description="Of `jumprelu`, where the file has none: what batch-top-k ended its training with."
    )
    width: int | None = Field(
        None,
        ge=1,
        le=2**20,
        description="Number of features: of random weights, or to plan with before files are there.",
    )


class ModelSpec(Strict):
    """One model of the zoo, as a recipe names it."""

    name: Name = Field(description="Short name, unique in the run.")
    model: str = Field(description="`<family>/<name>`, or `python:<module>:<factory>`.")
    weights: Place = Field(
        "pretrained",
        description="`package:<package>/<file>`, a path or fsspec URL, `pretrained`, or `random:<seed>`. "
        "`random:0..4` makes five models, `<name>-0` to `<name>-4`.",
    )
    sha256: Sha256 | None = Field(
        None,
        description="Required SHA-256 of the weights: of the file, of the output of sha256sum for the files "
        "of a folder, or of the tensors that a library loads.",
    )
    layers: tuple[str, ...] | None = Field(None, description="Globs over places inside. Default: those of the family.")
    match: Literal["name", "order"] = Field(
        "name",
        description="How the tensors of a state dict are assigned: by name, or by order if every shape agrees.",
    )
    mean: Colours | None = Field(
        None, description="Mean of red, green and blue, from 0 to 1, to subtract. Default: that of the family."
    )
    std: Deviations | None = Field(None, description="Standard deviation to divide by. Default: that of the family.")
    interpolation: Literal["bicubic", "bilinear", "nearest"] | None = Field(
        None, description="Interpolation of images to the size of the model. Default: that of the family."
    )
    size: Size | None = Field(
        None, description="Size of the model's images: side in pixels, or [height, width]. Default: that of the family."
    )
    options: Annotated[Options | None, BeforeValidator(_or_none)] = Field(
        None, description="Keyword arguments of the library's constructor, checked by name. Default: none."
    )
    condition: Condition = Field(Condition(), description="Conditioning: classes, truncation and the like.")
    sae: tuple[SparseAutoencoder, ...] = Field(
        (), description="Sparse autoencoders whose features are layers, beside those that `layers` names."
    )
    control: bool = Field(False, description="A reference model. It is matched, but no Rosetta neuron needs it.")

    @property
    def preprocessing(self) -> dict[str, Any]:
        """What is stated of the preprocessing, by the names of its fields."""
        stated = {name: getattr(self, name) for name in ("size", "interpolation", "mean", "std")}
        return {name: value for name, value in stated.items() if value is not None}

    # Options are a table, which has no hash of its own.
    def __hash__(self) -> int:
        return hash((self.name, self.model, self.weights, self.layers))

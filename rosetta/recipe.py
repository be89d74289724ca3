"""What a run is: the recipe, read strictly.

A recipe is a TOML file (`name`, `root`, `[images]`, `[[models]]`, `[matching]`, `[trust]`, `[compute]`). It is
checked whole before any work: unknown keys are errors that name the nearest known one.
"""

import re
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import tomli_w
from PIL import ImageColor
from pydantic import (
    AfterValidator,
    ByteSize,
    ConfigDict,
    Field,
    FiniteFloat,
    TypeAdapter,
    model_validator,
)

from rosetta.draws import drawn_apart
from rosetta.errors import UserError
from rosetta.fields import Name, Place, text, valid_url
from rosetta.model_spec import ModelSpec
from rosetta.strict import Strict, validated

_ADDRESS = "a scheduler's address like 'tcp://host:8786'"
MAX_PIXELS = 178_956_970
"""Where Pillow, too, takes an image for an attack on memory."""
USUAL_SIDE = 256
"""In pixels."""
_SIZE = re.compile(r"\d+(\.\d+)?\s*([KMGT]i?B|B)?", re.IGNORECASE)
"""Of what pydantic takes for sizes, and of what may stand behind them, recipes take this."""


def parse_size(text: str) -> int:
    """Bytes in a size such as `2 GiB`, `500MB` or `1073741824`.

    Raises
    ------
    ValueError
        The text is no size, or the size is zero.
    """
    size = TypeAdapter(ByteSize).validate_python(text.strip()) if _SIZE.fullmatch(text.strip()) else 0
    if size <= 0:
        raise ValueError(f"{text!r} is no size; write it like '2 GiB' or '500 MB'")
    return size


def _valid_size(text: str) -> str:
    parse_size(text)
    return text


def _valid_colour(text: str) -> str:
    try:
        if len(ImageColor.getrgb(text)) == 3:
            return text
    except ValueError:
        pass
    raise ValueError(f"{text!r} is not an opaque colour; write a name such as 'white', or '#rrggbb'")


def _valid_range(values: tuple[float, float]) -> tuple[float, float]:
    if not values[0] < values[1]:
        raise ValueError(f"{list(values)} is not a range; give the value of black, then the larger one of white")
    return values


Cluster = Annotated[str, text(r"threads|local|[a-z]+://\S+", f"neither 'threads' nor 'local' nor {_ADDRESS}")]


class Images(Strict):
    """The images of a run."""

    # `from` is a word of Python's: engines that hand a recipe on as plain data call it by its field's name.
    model_config = ConfigDict(populate_by_name=True)

    count: int | None = Field(None, ge=1, description="Images to take. Default: 512 of a generator, all of a source.")
    keep: Annotated[int, Field(ge=16)] | Literal["all"] = Field(
        "all",
        description="Images whose maps are stored, evenly spread: 'all', or a number. Maps of the others are correlated"
        " in memory and forgotten.",
    )
    seed: int = Field(
        0, ge=0, description="Seed of a generator's latents, of the order of a source, and of the halves."
    )
    source: Place | None = Field(
        None,
        description="Folder or glob of image files, WebDataset tars or Parquet files, or a saved Hugging Face dataset; "
        "any fsspec URL. Replaces a generator.",
    )
    labels: Annotated[str, Field(min_length=1), AfterValidator(valid_url)] | None = Field(
        None,
        description="Labels of source images: 'folder', 'none', or a CSV file with the columns source and label. "
        "Default: those of the dataset, else folders where there are any.",
    )
    size: int | None = Field(
        None,
        ge=1,
        le=4096,
        description="Side in pixels of the square that source images are cropped to. Default: that of the largest image"
        " that a model takes.",
    )
    order: Literal["drawn", "listed"] = Field(
        "drawn",
        description="Order of source images: drawn by seed, evenly from every folder, or as listed, for a film.",
    )
    skip_bad: bool = Field(False, description="Leave out source files that are not readable images.")
    background: Annotated[str, AfterValidator(_valid_colour)] = Field(
        "white", description="Colour behind transparent source images: a name or '#rrggbb'."
    )
    range: Annotated[tuple[FiniteFloat, FiniteFloat], AfterValidator(_valid_range)] | None = Field(
        None, description="Values of black and white in source images of more than 8 bits. Default: from the file."
    )
    max_pixels: int = Field(
        MAX_PIXELS, ge=1, description="Largest number of pixels in a source image. Larger ones are refused undecoded."
    )
    from_: str | None = Field(
        None,
        alias="from",
        min_length=1,
        description="Root whose images, activations and profiles this run shares. What is missing there is made there.",
    )

    @property
    def side(self) -> int:
        """The size, or a usual one as long as it is not known what models take."""
        return USUAL_SIDE if self.size is None else self.size

    def stored(self, images: int | None) -> "Images":
        """The same as if the images whose maps are stored were all; `images` are there in all where some are not."""
        return self if images is None else self.model_copy(update={"count": self.keep})

    @model_validator(mode="after")
    def _labels_what_it_has(self) -> "Images":
        if self.labels is not None and self.source is None:
            raise ValueError("labels are those of source images; give a source, or leave labels out")
        return self


class Matching(Strict):
    """How units are matched."""

    neighbours: int = Field(5, ge=1, description="K of the mutual K-nearest neighbours.")
    pairs: Literal["anchor", "all"] = Field(
        "anchor", description="Pairs with the anchor only, or every pair of models."
    )
    correlation: Literal["pearson", "spearman"] = Field("pearson", description="Of the values, or of their ranks.")
    keep: Literal["matrix", "neighbours"] = Field(
        "matrix", description="What a pair stores: every correlation, or the nearest neighbours of each unit."
    )
    keep_neighbours: int = Field(32, ge=32, description="Number of neighbours to store with keep = 'neighbours'.")

    @model_validator(mode="after")
    def _keeps_what_it_needs(self) -> "Matching":
        if self.keep == "neighbours" and self.keep_neighbours < self.neighbours:
            raise ValueError(
                f"keep_neighbours = {self.keep_neighbours} stores fewer than neighbours = {self.neighbours} needs;"
                f" set it to {self.neighbours} or more"
            )
        return self


Measurement = Literal["rotation", "maps", "exchange", "stability", "layers", "one_to_one", "rarefaction"]
"""What is measured for the sake of trust alone, and can be left out."""


class Trust(Strict):
    """What a match must pass to be trusted."""

    tests: tuple[str, ...] = Field(
        ("chance", "held_out", "lift", "partial", "excess", "robust"),
        min_length=1,
        description="Tests that a match must pass to be trusted. All others are reported beside them.",
    )
    leave_out: tuple[Measurement, ...] = Field(
        (), description="Measurements that are not made: " + ", ".join(f"`{name}`" for name in get_args(Measurement))
    )
    q: float = Field(0.05, gt=0, le=1, description="Highest false discovery rate.")
    held_out: float = Field(
        0.1, ge=-1, lt=1, description="Lower bound of the correlation in the half that did not choose the match."
    )
    partial: float = Field(0.1, ge=-1, lt=1, description="Lower bound of the partial correlation, given the pixels.")
    excess: float = Field(
        0.07, ge=-1, lt=1, description="Lower bound of the excess over units of the same layer, rotated at random."
    )
    alone: float = Field(
        0.6,
        ge=-1,
        lt=1,
        description="Lower bound of how far a unit is alone in its layer in what it knows of its best partner.",
    )
    robust: float = Field(
        0.1, ge=-1, lt=1, description="Lower bound of the correlation of maps clipped at their 99.9th percentile."
    )
    low: float = Field(0.0, ge=-1, lt=1, description="Lower bound of the lower end of the 95 % interval.")
    influence: float = Field(
        0.1, gt=0, le=2, description="Upper bound of the change of the correlation when one image is taken away."
    )
    within: float = Field(0.1, ge=-1, lt=1, description="Lower bound of the correlation within classes.")
    rotations: int = Field(4, ge=1, le=1000, description="Random rotations of each layer, at least.")
    exchanges: int = Field(3, ge=3, le=1000, description="Exchanges of images that the dictionary is counted under.")
    resamples: int = Field(1000, ge=100, le=100_000, description="Bootstrap samples behind each interval.")
    resample: Literal["images", "classes"] = Field("images", description="What a bootstrap sample is drawn of.")


class Compute(Strict):
    """Devices, memory and workers of a run."""

    device: str = Field(
        "auto", pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$", description="`auto`, `cpu`, `cuda`, `cuda:1`, `mps`."
    )
    devices: Annotated[int, Field(ge=1, le=1024)] | Literal["all"] = Field(
        1, description="Number of GPUs of this machine to run models on, one process each, or `all` that are visible."
    )
    memory: Annotated[str, AfterValidator(_valid_size)] = Field("2 GiB", description="Working memory of one worker.")
    cluster: Cluster = Field(
        "threads",
        description="`threads` of this process, `local` processes, or a Dask scheduler's address, `tcp://host:8786`.",
    )
    workers: int | None = Field(
        None, ge=1, le=4096, description="Number of processes with cluster = 'local'. Default: one per core."
    )
    writers: int | None = Field(
        None, ge=1, le=256, description="Threads that encode and write maps beside the model. Default: one per core."
    )
    checkpoint_minutes: float = Field(
        10, gt=0, le=1440, description="Minutes between two saves of the sums over images that are not kept."
    )
    precision: Literal["float32", "tf32", "bfloat16"] = Field(
        "float32", description="Precision of the products in correlations. Sums are always float64."
    )
    dtype: Literal["float16", "float32"] = Field(
        "float16",
        description="Stored activations: rounded to the bits of float16, or more where a unit needs them; or exact.",
    )
    chunk_mib: int = Field(
        16, ge=1, le=1024, description="Size of a chunk of the largest layer, in MiB, before compression."
    )

    @property
    def memory_bytes(self) -> int:
        """The working set in bytes."""
        return parse_size(self.memory)


class Recipe(Strict):
    """A whole run."""

    name: Name
    root: Place = Field(min_length=1, description="Where the artifacts go, any fsspec URL.")
    images: Images = Images()
    models: tuple[ModelSpec, ...] = Field(min_length=1)
    matching: Matching = Matching()
    trust: Trust = Trust()
    compute: Compute = Compute()

    @model_validator(mode="before")
    @classmethod
    def _with_every_draw(cls, data: Any) -> Any:
        return drawn_apart(data) if isinstance(data, Mapping) else data

    @model_validator(mode="after")
    def _models_make_a_run(self) -> "Recipe":
        twice = [name for name, count in Counter(spec.name for spec in self.models).items() if count > 1]
        if twice:
            raise ValueError(f"two models are called {twice[0]!r}; give each model its own name")
        if sum(not spec.control for spec in self.models) < 2:
            raise ValueError("a run needs at least two models that are not controls; add a [[models]] table")
        return self

    @model_validator(mode="after")
    def _keeps_some_images(self) -> "Recipe":
        if self.images.keep == "all":
            return self
        for wrong, remedy in (
            (self.matching.correlation == "spearman", "correlation = 'spearman' ranks all maps; use 'pearson'"),
            (self.matching.keep == "neighbours", "keep = 'neighbours' is judged by all maps; use 'matrix'"),
            (self.images.from_ is not None, "images.from shares the maps of all images; leave it out"),
        ):
            if wrong:
                raise ValueError(f"images.keep = {self.images.keep} keeps the maps of some images; {remedy}")
        return self

    def pairs(self, anchor: str) -> tuple[tuple[str, str], ...]:
        """The pairs of models to correlate, the anchor with itself first."""
        names = sorted((spec.name for spec in self.models), key=lambda name: name != anchor)
        with_anchor = [(anchor, name) for name in names]
        if self.matching.pairs == "anchor":
            return tuple(with_anchor)
        others = names[1:]
        return (*with_anchor, *((a, b) for i, a in enumerate(others) for b in others[i + 1 :]))

    def to_toml(self) -> str:
        """The recipe with its defaults filled in."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True, by_alias=True))


def read_recipe(path: str | Path, root: str | None = None, changes: Sequence[str] = ()) -> Recipe:
    """Read a recipe file.

    Parameters
    ----------
    path
        The TOML file.
    root
        Takes the place of the recipe's `root`.
    changes
        `key=value` with a dotted key and a TOML value (bare words count as strings): `images.count=64`,
        `models.dcgan.weights=my.tar`.

    Raises
    ------
    UserError
        No such file, not TOML, or not a valid recipe.
    """
    return parse_recipe(recipe_text(path), str(path), root, changes)


def recipe_text(path: str | Path) -> str:
    """The text of a recipe file.

    Raises
    ------
    UserError
        There is no such file, or it is no text.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise UserError(
            f"recipe {path}: {reason}; give the path of a recipe, for example deployments/recipes/faces.toml"
        ) from None


def parse_recipe(text: str, origin: str, root: str | None = None, changes: Sequence[str] = ()) -> Recipe:
    """Read a recipe from TOML text; `origin` is what an error calls it. See :func:`read_recipe`."""
    return recipe_from(recipe_data(text, origin, root, changes), origin)


def recipe_data(text: str, origin: str, root: str | None = None, changes: Sequence[str] = ()) -> dict[str, Any]:
    """TOML text with its changes as plain data, whose values are not checked yet. See :func:`read_recipe`."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"recipe {origin} is not TOML: {error}") from None
    for change in changes:
        _apply(data, change)
    if root is not None:
        data["root"] = root
    return data


def recipe_from(data: Mapping[str, Any], origin: str) -> Recipe:
    """A recipe from plain data.

    Raises
    ------
    UserError
        The first thing wrong with it, by its dotted key.
    """
    if "study" in data:
        raise UserError(f"recipe {origin} is that of a study, which is many runs; give it to rosetta study")
    try:
        every = drawn_apart(data)  # so that an error finds the model that it is about
    except ValueError as error:
        raise UserError(f"recipe {origin}: {error}") from None
    return validated(Recipe, every, f"recipe {origin}")


def _apply(data: dict[str, Any], change: str) -> None:
    key, equals, value = change.partition("=")
    if not equals or not key.strip():
        raise UserError(f"--set {change!r} is not key=value, like images.count=64")
    *path, last = key.strip().split(".")
    place: Any = data
    for step in path:
        if isinstance(place, list):  # models are addressed by name
            place = next((entry for entry in place if isinstance(entry, dict) and entry.get("name") == step), None)
        elif isinstance(place, dict):
            place = place.setdefault(step, {})
        if not isinstance(place, dict | list):
            raise UserError(f"--set {change!r}: the recipe has no {step!r} to change")
    if not isinstance(place, dict):
        raise UserError(f"--set {change!r}: say which model, like models.NAME.{last}=…")
    try:
        place[last] = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        place[last] = value

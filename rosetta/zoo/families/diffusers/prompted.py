"""Pipelines with prompts in their two roles: making images, and looking at them.

prompts ─► text encoders ─► embeddings     (once; the encoders are freed)
                                │
z ─► step ─► step ─► … ─► last step ─► decoder ─► image
     └──── unseen by hooks ────┘
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rosetta.errors import UserError
from rosetta.model_spec import Condition
from rosetta.units import Grid
from rosetta.zoo.architecture import Architecture
from rosetta.zoo.families.diffusers.kind import Kind
from rosetta.zoo.families.diffusers.pipeline import (
    MOST_SIDE,
    MOST_TIMESTEPS,
    Make,
    Pipeline,
    built_of,
    number,
    settings,
)
from rosetta.zoo.families.diffusers.published import Config
from rosetta.zoo.families.diffusers.sampling import Generator, Observer, looks_of, require_trained
from rosetta.zoo.families.diffusers.texts import Encode, Words, words_of
from rosetta.zoo.maps.layout import Traits
from rosetta.zoo.preprocessing import Preprocessing

_HALF = (0.5, 0.5, 0.5)
_OF_MAKING = ("bound", "steps", "guidance", "classes")
"""Conditions that mean nothing to a model that looks at images."""
_DRAWS = {"stochastic_sampling": (True,), "algorithm_type": ("sde-dpmsolver", "sde-dpmsolver++")}
"""Settings of schedulers that draw noise at each step."""


class _Prompted:
    """What both roles share: the transformer is given what its kind is given, and images go its way."""

    words: Words
    pipeline_kind: Kind
    embedded: float

    def _predict(self, noisy: Tensor, time: Tensor, prompts: Tensor) -> Tensor:
        transformer: nn.Module = self.get_submodule("transformer")  # type: ignore[attr-defined]
        return self.pipeline_kind.predict(transformer, noisy, time, self.words.of(prompts, noisy), self.embedded)


class PromptedGenerator(_Prompted, Generator):
    """Makes images of prompts, as :class:`rosetta.zoo.families.diffusers.sampling.Generator` does of classes.

    Parameters
    ----------
    pipeline
        The parts; its classes are the prompts.
    kind
        The kind of the pipeline.
    words
        What text encoders say of the prompts, with those of the empty prompt last where guidance leads away from it.
    guidance
        Classifier-free; 1 takes half the work.
    embedded
        What the transformer is given as guidance, where it takes it.
    """

    def __init__(
        self, pipeline: Pipeline, kind: Kind, words: Words, guidance: float = 1.0, embedded: float = 1.0
    ) -> None:
        super().__init__(pipeline, range(len(pipeline.scheduler.timesteps)), guidance)
        self.pipeline_kind, self.words, self.embedded = kind, words, embedded

    def predict(self, noisy: Tensor, timestep: int, classes: Tensor | None) -> Tensor:
        """What the transformer says at a step, by its number, of prompts by theirs."""
        assert classes is not None
        time = self.scheduler.timesteps[timestep].to(noisy.device).expand(len(noisy))
        return self._predict(noisy, time, classes)

    def _step(self, noisy: Tensor, timestep: int, classes: Tensor | None, *carried: Tensor) -> tuple[Tensor, ...]:
        """A step of the library's scheduler.

        A scheduler counts its steps, so one that is run again for gradients, or by another thread, would be another.
        A copy of it starts at the step.
        """
        solver = copy(self.scheduler)
        solver.set_begin_index(timestep)
        said = self._guided(noisy, timestep, classes)
        order = getattr(solver.config, "solver_order", 1)
        solver.model_outputs = [*[None] * (order - len(carried)), *carried]
        solver.lower_order_nums = len(carried)
        nearer = solver.step(said, solver.timesteps[timestep], noisy, return_dict=False)[0]
        return (nearer, *(output for output in solver.model_outputs[1:] if output is not None))

    def _decode(self, latents: Tensor) -> Tensor:
        return self.pipeline_kind.decode(self.vae, latents)


class PromptedObserver(_Prompted, Observer):
    """Looks at each image, noised to timesteps of training, with one prompt for all.

    Parameters
    ----------
    pipeline, kind, words
        As of :class:`PromptedGenerator`.
    timesteps, told_apart
        As of :class:`Observer`.
    embedded
        What the transformer is given as guidance, where it takes it.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        kind: Kind,
        words: Words,
        timesteps: Sequence[int],
        told_apart: bool,
        embedded: float = 1.0,
    ) -> None:
        super().__init__(pipeline, timesteps, told_apart, 0)
        self.pipeline_kind, self.words, self.embedded = kind, words, embedded

    def predict(self, noisy: Tensor, timestep: int, classes: Tensor | None) -> Tensor:
        """What the transformer says at a timestep of training."""
        assert classes is not None
        time = torch.full((len(noisy),), timestep, device=noisy.device)
        return self._predict(noisy, time, classes)

    def _encode(self, images: Tensor) -> Tensor:
        return self.pipeline_kind.encode_images(self.vae, images)


@dataclass(frozen=True)
class Origin:
    """Where a pipeline comes from."""

    name: str
    """What errors call it."""
    index: Mapping[str, Any]
    """What it says of itself."""
    configs: Mapping[str, Config]
    """The configuration of each network and of the scheduler."""
    make: Make | None = None
    """Makes the networks; left out, they are initialised at random."""
    steps: int | None = None
    """Of denoising, where its publisher advises another number than the library."""
    texts: Hashable = None
    """What tells its text encoders from others, see :func:`rosetta.zoo.families.diffusers.texts.words_of`."""


def describe(
    kind: Kind,
    origin: Origin,
    condition: Condition,
    encode: Callable[[Mapping[str, tuple[int, ...]]], Encode],
) -> Architecture:
    """A pipeline in the role that a recipe gives it.

    Parameters
    ----------
    encode
        Text encoders that give tensors of certain shapes.

    Raises
    ------
    UserError
        The library cannot build it, or what the recipe says does not go with it.
    """
    looks = condition.timestep is not None
    chosen = {part: settings(part, origin.configs[part], origin.name, kind.classes) for part in kind.classes}
    transformer, vae = chosen["transformer"][1], chosen["vae"][1]
    prompts = _prompts(condition, origin)
    shape, image, grid = _geometry(kind, transformer, vae, condition.size, origin.name)
    guidance, embedded = _guidance(kind, transformer, condition, origin)
    scheduler = _scheduler(kind, chosen["scheduler"], origin.name)
    if looks:
        _require_look(condition, scheduler, origin.name)
    else:
        _set_timesteps(kind, scheduler, condition, grid, origin)
    make = origin.make or (lambda part, made, chosen: made(**chosen))
    denoiser, autoencoder = (built_of(make, part, chosen[part], origin.name) for part in ("transformer", "vae"))
    pipeline = Pipeline("transformer", denoiser, autoencoder, scheduler, shape, image, len(prompts))
    nothing = guidance != 1 if prompts and not looks else not prompts
    words = words_of(prompts, nothing, encode(kind.texts_of(transformer)), origin.texts)
    exceptions = {
        f"transformer.{place}": differing
        for place, differing in kind.exceptions(denoiser, words.get_buffer("prompt").shape[1])
    }
    traits = Traits(prefix_tokens=0, token_grid=grid, exceptions=exceptions)
    layers = tuple(f"transformer.{place}" for place in kind.layers(denoiser))
    if condition.timestep is not None:
        return Architecture(
            PromptedObserver(pipeline, kind, words, *looks_of(condition), embedded),
            Preprocessing(image, "bicubic", _HALF, _HALF),
            indexed=True,
            layers=layers,
            traits=traits,
        )
    return Architecture(
        PromptedGenerator(pipeline, kind, words, guidance, embedded),
        latent=shape[0] * shape[1] * shape[2],
        classes=len(prompts),
        image_size=image,
        layers=layers,
        traits=traits,
    )


def _prompts(condition: Condition, origin: Origin) -> tuple[str, ...]:
    if condition.timestep is not None:
        if len(condition.prompts or ()) > 1:
            raise UserError(
                f"{origin.name}: condition.prompts has {len(condition.prompts or ())}, but every image is looked at "
                "with one; name one"
            )
        return condition.prompts or ()
    if condition.prompts is None:
        if torch.empty(0).device.type == "meta":
            return ("",)  # an outline needs none
        raise UserError(
            f'{origin.name} makes images of prompts; give condition.prompts, a text file or a list, as ["a red house"]'
        )
    return condition.prompts


def _geometry(
    kind: Kind, transformer: Mapping[str, Any], vae: Mapping[str, Any], size: Grid | None, origin: str
) -> tuple[tuple[int, int, int], Grid, Grid]:
    """Channels, height and width of latents; those of images; and the grid of tokens."""
    channels, latent = (
        number(values[name], MOST_SIDE, name, origin)
        for values, name in ((transformer, "in_channels"), (vae, "latent_channels"))
    )
    packed = latent * kind.packs**2
    if channels != packed:
        raise UserError(
            f"{origin}: its vae gives {packed} channels where its transformer takes {channels}; save a vae and a "
            "transformer that belong together"
        )
    if any(vae.get(name, 3) != 3 for name in ("in_channels", "out_channels")):
        raise UserError(f"{origin}: its images are not of red, green and blue; only RGB models can be mined")
    compression = kind.compression(vae)
    patch = kind.packs * number(transformer["patch_size"], MOST_SIDE, "patch_size", origin)
    side = kind.side or number(transformer["sample_size"], MOST_SIDE, "sample_size", origin)
    image = size or (side * compression, side * compression)
    if any(edge % (patch * compression) for edge in image):
        raise UserError(
            f"{origin}: condition.size is {image[0]} × {image[1]}, but sides must be multiples of {patch * compression}"
        )
    height, width = (edge // compression for edge in image)
    grid = height // patch, width // patch
    return kind.latents(channels, height, width), image, grid


def _guidance(kind: Kind, transformer: Mapping[str, Any], condition: Condition, origin: Origin) -> tuple[float, float]:
    """Classifier-free guidance, and what the transformer is given."""
    usual = kind.default("guidance_scale")
    given = condition.guidance
    if kind.embeds_guidance(transformer):
        return 1.0, usual if given is None else given
    if not kind.takes_guidance(origin.index):
        if given not in (None, 1):
            raise UserError(f"{origin.name} was distilled to need no guidance; remove condition.guidance")
        return 1.0, 1.0
    return usual if given is None else given, 1.0


def _scheduler(kind: Kind, chosen: tuple[Any, dict[str, Any]], origin: str) -> Any:
    number(chosen[1]["num_train_timesteps"], MOST_TIMESTEPS, "num_train_timesteps", origin)
    for name, values in _DRAWS.items():
        if chosen[1].get(name) in values:
            raise UserError(
                f"{origin}: with {name} = {chosen[1][name]!r} its scheduler draws noise at each step; images would not "
                "be a function of their latents"
            )
    try:
        with torch.device("cpu"):  # its numbers are needed where networks have only shapes
            return chosen[0](**chosen[1])
    except Exception as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{origin}: diffusers cannot build its scheduler: {reason}") from None


def _set_timesteps(kind: Kind, scheduler: Any, condition: Condition, grid: Grid, origin: Origin) -> None:
    steps = condition.steps or origin.steps or kind.default("num_inference_steps")
    trained = scheduler.config.num_train_timesteps
    if steps > trained:
        raise UserError(f"{origin.name}: condition.steps is {steps}, but it was trained on {trained}; take fewer")
    try:
        with torch.device("cpu"):
            kind.set_timesteps(scheduler, steps, grid[0] * grid[1])
    except Exception as error:  # settings of a configuration that nobody has looked at until now
        reason = " ".join(str(error).split())
        raise UserError(f"{origin.name}: its scheduler cannot take {steps} steps: {reason}") from None


def _require_look(condition: Condition, scheduler: Any, origin: str) -> None:
    for field in _OF_MAKING:
        if getattr(condition, field) is not None:
            raise UserError(
                f"{origin}: condition.{field} is about making images, and condition.timestep about looking at them; "
                "remove one of the two"
            )
    require_trained(condition, scheduler, origin)

"""From configurations, which may be anybody's, to the parts of a pipeline."""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from rosetta.errors import UserError
from rosetta.units import Grid
from rosetta.zoo.families.diffusers.published import Config

Make = Callable[[str, Any, dict[str, Any]], nn.Module]
"""Makes a component from its name, its class in the library, and all its settings."""

CONSISTENCY = "CMStochasticIterativeScheduler"
"""The library's class of scheduler by which a pipeline is a consistency model."""
CLASSES: Mapping[str, Mapping[str, str]] = {
    "unet": {"UNet2DModel": "UNet2DModel"},
    # The class that DiT was first published with.
    "transformer": {"DiTTransformer2DModel": "DiTTransformer2DModel", "Transformer2DModel": "DiTTransformer2DModel"},
    "vae": {"AutoencoderKL": "AutoencoderKL"},
    # Both are trained alike; images are made without noise, as the former does it.
    "scheduler": {"DDIMScheduler": "DDIMScheduler", "DDPMScheduler": "DDIMScheduler", CONSISTENCY: CONSISTENCY},
}
"""Of each component, the classes that may be named, and the library's class that stands for each."""
DENOISERS = ("unet", "transformer")
_DRAWING = ("Ancestral", "SDE", "LCM", "SCM", "TCD", "DDPM", "Karras")
"""Words in the names of schedulers that draw noise on the way."""
_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_OLD = re.compile(rf"(\battentions\.\d+)\.({'|'.join(_ATTENTION)})\.(?=\w+$)")
MOST_SIDE = 8192
MOST_TIMESTEPS = 100_000
"""Above these a number in a configuration is a mistake, if not malice: it decides how much memory is asked for."""


@dataclass(frozen=True)
class Pipeline:
    """The parts of a diffusion model."""

    kind: str
    """What the denoiser is called in the pipeline: `unet` or `transformer`."""
    denoiser: nn.Module
    """Predicts what its scheduler asks for, the noise usually."""
    vae: nn.Module | None
    """Between images and what is denoised, where that is not images."""
    scheduler: Any
    """The library's DDIM scheduler."""
    shape: tuple[int, int, int]
    """Channels, height and width of what is denoised."""
    image_size: Grid
    """Height and width of images."""
    classes: int | None
    """How many classes the denoiser knows; the next index is that of none."""


@cache
def library() -> Any:
    """diffusers, which is optional, without its chatter.

    Raises
    ------
    UserError
        It cannot be imported.
    """
    try:
        import diffusers
    except ImportError as error:
        raise UserError(f"diffusers cannot be imported ({error}); pip install 'rosetta-mine[diffusion]'") from None
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    return diffusers


def why_not(name: object) -> str:
    """Why a class of a component is refused."""
    draws = isinstance(name, str) and name.endswith("Scheduler") and any(word in name for word in _DRAWING)
    return "draws noise at each step" if draws else "is not known here"


def settings(
    part: str, config: Config, origin: str, classes: Mapping[str, Mapping[str, str]] = CLASSES
) -> tuple[Any, dict[str, Any]]:
    """The class of a component and all its settings, the library's defaults where the configuration says nothing.

    Parameters
    ----------
    part
        What the component is called.
    config
        Its configuration. What the class does not take is left out, as the library does.
    origin
        What an error calls the configuration.
    classes
        As :data:`CLASSES`.

    Raises
    ------
    UserError
        A class that is not known here.
    """
    named = config.get("_class_name")
    if not isinstance(named, str) or named not in classes[part]:
        raise UserError(
            f"{origin}: {part} is of class {named!r}, which {why_not(named)}; it can be {' or '.join(classes[part])}"
        )
    kind = getattr(library(), classes[part][named], None)
    if kind is None:
        raise UserError(f"{origin}: the installed diffusers have no {classes[part][named]}; install a newer release")
    usual = {name: at.default for name, at in inspect.signature(kind.__init__).parameters.items() if name != "self"}
    found = {name: config.get(name, default) for name, default in usual.items()}
    return kind, {name: _tuples(value) for name, value in found.items()}


def _tuples(value: Any) -> Any:
    """A value with tuples where JSON has lists."""
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


def make_pipeline(configs: Mapping[str, Config], origin: str, make: Make | None = None) -> Pipeline:
    """Build a pipeline.

    Parameters
    ----------
    configs
        The configuration of each component, by its name.
    origin
        What errors call the configurations.
    make
        Makes the networks; left out, they are initialised at random.

    Raises
    ------
    UserError
        The library cannot build it, or it makes no images in colour.
    """
    make = make or (lambda part, kind, chosen: kind(**chosen))
    kind = next(part for part in DENOISERS if part in configs)
    chosen = {part: settings(part, configs[part], origin) for part in (kind, "vae", "scheduler") if part in configs}
    scheduler = _scheduler(chosen["scheduler"][0], chosen["scheduler"][1], origin)
    denoising = chosen[kind][1]
    coding = chosen["vae"][1] if "vae" in chosen else None
    shape = _shape(denoising, coding, origin)
    if denoising.get("num_class_embeds") is not None or denoising.get("class_embed_type") is not None:
        raise UserError(f"{origin}: its U-Net is told classes, which only a transformer can be here; take another")
    built = {part: built_of(make, part, chosen[part], origin) for part in (kind, "vae") if part in chosen}
    scale = 1 if coding is None else 2 ** (len(coding["block_out_channels"]) - 1)
    return Pipeline(
        kind=kind,
        denoiser=built[kind],
        vae=built.get("vae"),
        scheduler=scheduler,
        shape=shape,
        image_size=(shape[1] * scale, shape[2] * scale),
        classes=denoising["num_embeds_ada_norm"] if kind == "transformer" else None,
    )


def built_of(make: Make, part: str, chosen: tuple[Any, dict[str, Any]], origin: str) -> nn.Module:
    """A component of its class and settings.

    Raises
    ------
    UserError
        The library cannot build it.
    """
    try:
        return make(part, *chosen)
    except UserError:
        raise
    except Exception as error:  # settings that do not go together raise anything
        reason = " ".join(str(error).split())
        raise UserError(f"{origin}: diffusers cannot build its {part}: {reason}") from None


def modern(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict under the names of today: attention had others in the first releases, and on the hub has still."""
    return {_OLD.sub(lambda found: f"{found[1]}.{_ATTENTION[found[2]]}.", name): state[name] for name in state}


def _scheduler(kind: Any, chosen: dict[str, Any], origin: str) -> Any:
    trained = number(chosen["num_train_timesteps"], MOST_TIMESTEPS, "num_train_timesteps", origin)
    try:
        with torch.device("cpu"):  # its numbers are needed where networks have only shapes
            scheduler = kind(**chosen)
    except Exception as error:
        raise UserError(f"{origin}: diffusers cannot build its scheduler: {error}") from None
    if tuple(scheduler.alphas_cumprod.shape) != (trained,):
        raise UserError(
            f"{origin}: its scheduler has not one of trained_betas for each of {trained} timesteps; mend it"
        )
    return scheduler


def _shape(denoising: Mapping[str, Any], coding: Mapping[str, Any] | None, origin: str) -> tuple[int, int, int]:
    """Channels, height and width of what is denoised."""
    size = denoising["sample_size"]
    sides = size if isinstance(size, tuple) and len(size) == 2 else (size, size)
    height, width = (number(side, MOST_SIDE, "sample_size", origin) for side in sides)
    channels = number(denoising["in_channels"], MOST_SIDE, "in_channels", origin)
    given = denoising["out_channels"]
    if given not in (None, channels, 2 * channels):  # as many again where variances are learnt
        raise UserError(f"{origin}: its denoiser takes {channels} channels and gives {given}; take another pipeline")
    colours = (channels,) if coding is None else (coding["in_channels"], coding["out_channels"])
    if any(colour != 3 for colour in colours):
        raise UserError(f"{origin}: its images have {colours[-1]} channels; only RGB models can be mined")
    if coding is not None and coding["latent_channels"] != channels:
        raise UserError(
            f"{origin}: its vae gives {coding['latent_channels']} channels where its denoiser takes {channels}; "
            "save a vae and a denoiser that belong together"
        )
    return channels, height, width


def number(value: Any, most: int, name: str, origin: str) -> int:
    """A whole number of a configuration.

    Raises
    ------
    UserError
        It is none, or beyond what is sensible.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise UserError(f"{origin}: {name} is {value!r}, not a whole number from 1 to {most}; correct it")
    return value

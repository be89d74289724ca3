"""Consistency models (Song et al., 2023, arXiv 2303.01469) as generators: from noise to an image in one step.

    z ─► · σ_max ─► x ─► c_skip x + c_out F(x / √(σ² + σ_data²), t) ─► image

More steps would draw more noise between them, which no latent holds: they are refused.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from rosetta.errors import UserError
from rosetta.model_spec import Condition
from rosetta.zoo.architecture import Architecture
from rosetta.zoo.families.diffusers import saved
from rosetta.zoo.families.diffusers.pipeline import CONSISTENCY, settings
from rosetta.zoo.families.diffusers.published import PUBLISHED
from rosetta.zoo.weights.source import Folder

_MOST_SIDE = 8192


class Consistency(nn.Module):
    """Makes images in one step.

    Parameters
    ----------
    unet
        The library's network.
    scheduler
        The library's scheduler.
    """

    def __init__(self, unet: Any, scheduler: Any) -> None:
        super().__init__()
        self.unet = unet
        settled = scheduler.config
        self.shape = (3, unet.config.sample_size, unet.config.sample_size)
        with torch.device("cpu"):  # its numbers are needed where the network has only shapes
            scheduler.set_timesteps(1)
        sigma = scheduler.sigmas[0]
        self.timestep = float(scheduler.timesteps[0])
        self.noise = float(scheduler.init_noise_sigma)
        self.spread = float((sigma**2 + settled.sigma_data**2) ** 0.5)
        self.skip, self.out = map(float, scheduler.get_scalings_for_boundary_condition(sigma))
        self.clips = bool(settled.clip_denoised)

    def forward(self, z: Tensor, classes: Tensor | None = None) -> Tensor:
        """Make images.

        Parameters
        ----------
        z
            (image, 3 · y · x) standard normal.
        classes
            (image,) int64, where there are classes.

        Returns
        -------
        Tensor
            (image, rgb, y, x), in −1..1 where the scheduler clips, as published ones do.
        """
        noisy = z.unflatten(1, self.shape) * self.noise
        times = torch.full((len(z),), self.timestep, device=z.device, dtype=z.dtype)
        predicted = self.unet(noisy / self.spread, times, class_labels=classes, return_dict=False)[0]
        images: Tensor = self.out * predicted + self.skip * noisy
        return images.clamp(-1, 1) if self.clips else images


def is_one(folder: Folder) -> bool:
    """Whether the pipeline in a folder is a consistency model.

    Raises
    ------
    UserError
        There is no pipeline that is known here.
    """
    return saved.read_configs(folder).get("scheduler", {}).get("_class_name") == CONSISTENCY


def build_from(
    name: str, folder: Folder, condition: Condition, blocks: Callable[[Any], Iterable[str]]
) -> tuple[Architecture, dict[str, Tensor]]:
    """The consistency model in a folder as a generator, with its tensors.

    Parameters
    ----------
    name
        What a recipe calls it.
    folder
        Of its pipeline.
    condition
        What a recipe tells it.
    blocks
        Paths of the modules that give what the blocks of a U-Net give.

    Raises
    ------
    UserError
        It goes by the name of another pipeline, the library cannot build it, it makes no images in colour, or it is
        told what it does not take.
    """
    origin, configs = f"weights {folder.text!r}", saved.read_configs(folder)
    if name in PUBLISHED:
        raise UserError(f"{origin} are of a consistency model; name the model diffusers/custom")
    if set(configs) != {"unet", "scheduler"}:
        raise UserError(f"{origin} have {', '.join(configs)}; a consistency model has a unet and a scheduler alone")
    if (condition.steps or 1) > 1:
        raise UserError(
            f"{origin} are of a consistency model, which draws new noise at each further step; remove condition.steps"
        )
    for name in condition.given:
        if name not in ("bound", "classes", "steps"):
            raise UserError(
                f"{origin} are of a consistency model, which takes no condition.{name}; remove it (it takes bound, "
                "classes)"
            )
    unet_kind, chosen = settings("unet", configs["unet"], origin)
    scheduler_kind, schedule = settings("scheduler", configs["scheduler"], origin)
    size, colours = chosen["sample_size"], (chosen["in_channels"], chosen["out_channels"])
    if type(size) is not int or not 1 <= size <= _MOST_SIDE:
        raise UserError(f"{origin}: sample_size is {size!r}, not a whole number from 1 to {_MOST_SIDE}; correct it")
    if colours != (3, 3):
        raise UserError(f"{origin}: its images have {colours[-1]} channels; only RGB models can be mined")
    if chosen["class_embed_type"] is not None:
        raise UserError(f"{origin}: its classes are told as {chosen['class_embed_type']!r}, not as indices")
    try:
        with torch.device("cpu"):
            scheduler = scheduler_kind(**schedule)
        module = Consistency(unet_kind(**chosen), scheduler)
    except Exception as error:  # settings that do not go together raise anything
        raise UserError(f"{origin}: diffusers cannot build it: {error}") from None
    architecture = Architecture(
        module,
        latent=3 * size**2,
        classes=chosen["num_class_embeds"],
        image_size=(size, size),
        layers=tuple(f"unet.{path}" for path in blocks(module.unet)),
    )
    return architecture, saved.read_state(folder)

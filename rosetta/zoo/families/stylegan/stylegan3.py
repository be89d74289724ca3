"""StyleGAN3 (Karras et al., 2021, arXiv 2106.12423): generators whose details move with what they belong to.

Two configurations are published: T, equivariant to translation, and R, equivariant to rotation as well. Modules
and tensors have the names that they have in the published checkpoints (`G_ema`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rosetta.zoo.families.stylegan.arguments import Arguments, clamp_of_layers
from rosetta.zoo.families.stylegan.fit import FoundLayer, channel_base, compare, layers_in, mapping_layers, shape_of
from rosetta.zoo.families.stylegan.mapping import MappingConfig, StyleGenerator, StyleMapping
from rosetta.zoo.families.stylegan.schedule import Bands, schedule
from rosetta.zoo.families.stylegan.signatures import STYLEGAN3
from rosetta.zoo.families.stylegan.synthesis import OUTPUT_SCALE, Filtering, Synthesis
from rosetta.zoo.weights.statedict import MisfitError


@dataclass(frozen=True, kw_only=True)
class Config(MappingConfig, Bands, Filtering):
    """What a generator is built with; as published for T by default.

    Configuration R has convolutions of a single position, and filters that treat all directions alike.
    """

    resolution: int
    """Side of its images in pixels, a power of two."""
    layers: int = 14
    """How many there are before to-RGB."""
    mapping_layers: int = 2
    output_scale: float = OUTPUT_SCALE
    """From what to-RGB puts out to images in −1..1."""


def _r(resolution: int, base: int = 65536) -> Config:
    """Configuration R: twice the channels of T, where a convolution sees a ninth of the positions."""
    return Config(resolution=resolution, kernel=1, radial=True, channel_base=base, channel_max=1024)


PUBLISHED: dict[str, Config] = {
    "t-ffhqu-256": Config(resolution=256, channel_base=16384),
    "t-ffhqu-1024": Config(resolution=1024),
    "t-ffhq-1024": Config(resolution=1024),
    "t-metfacesu-1024": Config(resolution=1024),
    "t-metfaces-1024": Config(resolution=1024),
    "t-afhqv2-512": Config(resolution=512),
    "r-ffhqu-256": _r(256, 32768),
    "r-ffhqu-1024": _r(1024),
    "r-ffhq-1024": _r(1024),
    "r-metfacesu-1024": _r(1024),
    "r-metfaces-1024": _r(1024),
    "r-afhqv2-512": _r(512),
}
"""The released generators: configuration, data set (u: unaligned) and resolution."""


class StyleGAN3(StyleGenerator):
    """A generator.

    Parameters
    ----------
    psi
        Truncation: styles go from their mean (0) to what the mapping makes of the latents (1).
    """

    def __init__(self, config: Config, psi: float = 1.0) -> None:
        super().__init__(config, config.resolution)
        steps = schedule(config.resolution, config.layers, config)
        self.synthesis = Synthesis(tuple((step, config) for step in steps), config.w_dim, config.output_scale)
        self.mapping = StyleMapping(config, self.synthesis.styles, psi)


def recognise(state: Mapping[str, Tensor]) -> Config:
    """Which generator a state dict is of.

    What no tensor shows is as the file says, or else as published.

    Raises
    ------
    MisfitError
        It is of another architecture, or its constructor was given what is not known; the message names what differs
        first.
    """
    layers = layers_in(state, "StyleGAN3")
    embeds = "mapping.embed.weight" in state
    if "mapping.embed_proj.weight" in state or (embeds and "mapping.embed.bias" not in state):
        raise MisfitError("they are StyleGAN-XL's, not StyleGAN3's: they have an embedding of classes")
    w_dim, inputs = shape_of(state, "mapping.fc0.weight", 2, "StyleGAN3")
    arguments = Arguments(state, STYLEGAN3)
    shapes = {
        "resolution": layers[-1].size,
        "layers": layers[-1].index,
        "z_dim": inputs - (w_dim if embeds else 0),
        "w_dim": w_dim,
        "c_dim": shape_of(state, "mapping.embed.weight", 2, "StyleGAN3")[1] if embeds else 0,
        "mapping_layers": mapping_layers(state),
    }
    arguments.require(**shapes)
    config = Config(**synthesis_settings(state, layers, arguments) | shapes)
    compare(lambda: StyleGAN3(config), state, "StyleGAN3")
    return config


def synthesis_settings(state: Mapping[str, Tensor], layers: list[FoundLayer], arguments: Arguments) -> dict[str, Any]:
    """What arguments of a constructor ask for; where they leave it open, what the first and last layers show."""
    first = f"synthesis.{layers[0].name}"
    kernel = shape_of(state, f"{first}.weight", 4, "StyleGAN3")[3]
    arguments.require(kernel=kernel)
    shown = {
        "kernel": kernel,
        "radial": state.get(f"{first}.down_filter", torch.empty(0)).ndim == 2,
        "channel_base": channel_base(layers),
        "channel_max": layers[0].channels,
    }
    return shown | clamp_of_layers(state) | arguments

"""StyleGAN3 (Karras et al., 2021, arXiv 2106.12423): generators whose details move with what they belong to.

Two configurations are published: T, equivariant to translation, and R, equivariant to rotation as well. Modules
and tensors have the names that they have in the published checkpoints (`G_ema`).
"""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import TypedDict

import torch
from torch import Tensor, nn

from rosetta.zoo.families.stylegan.arguments import (
    CLAMP,
    COUNT,
    FACTOR,
    FEW,
    FLAG,
    FOLLOWS,
    IN_FLOAT32,
    IN_TRAINING,
    NUMBER,
    SIZE,
    Honoured,
    Only,
    Table,
    Told,
    agreeing,
    clamp_of_layers,
    given,
    require_shapes,
)
from rosetta.zoo.families.stylegan.fit import channel_base, compare, layers_in, mapping_layers, shape_of
from rosetta.zoo.families.stylegan.mapping import StyleMapping
from rosetta.zoo.families.stylegan.modulation import MAPPING_RATE
from rosetta.zoo.families.stylegan.schedule import PUBLISHED as PUBLISHED_BANDS
from rosetta.zoo.families.stylegan.schedule import Bands, schedule
from rosetta.zoo.families.stylegan.synthesis import OUTPUT_SCALE, Filtering, Synthesis
from rosetta.zoo.weights.statedict import MisfitError


class Arguments(TypedDict, total=False):
    """What :class:`StyleGAN3` takes; what is left out has its default."""

    resolution: int
    channel_base: int
    channel_max: int
    layers: int
    z_dim: int
    w_dim: int
    c_dim: int
    mapping_layers: int
    mapping_rate: float
    output_scale: float
    bands: Bands
    filtering: Filtering


_ROTATION = Filtering(kernel=1, radial=True)
_R = Arguments(filtering=_ROTATION, channel_base=65536, channel_max=1024)
"""Twice the channels of T, where a convolution sees a ninth of the positions."""
PUBLISHED: dict[str, Arguments] = {
    "t-ffhqu-256": Arguments(resolution=256, channel_base=16384),
    "t-ffhqu-1024": Arguments(resolution=1024),
    "t-ffhq-1024": Arguments(resolution=1024),
    "t-metfacesu-1024": Arguments(resolution=1024),
    "t-metfaces-1024": Arguments(resolution=1024),
    "t-afhqv2-512": Arguments(resolution=512),
    "r-ffhqu-256": Arguments(resolution=256, filtering=_ROTATION, channel_base=32768, channel_max=1024),
    "r-ffhqu-1024": Arguments(resolution=1024, **_R),
    "r-ffhq-1024": Arguments(resolution=1024, **_R),
    "r-metfacesu-1024": Arguments(resolution=1024, **_R),
    "r-metfaces-1024": Arguments(resolution=1024, **_R),
    "r-afhqv2-512": Arguments(resolution=512, **_R),
}
"""The released generators: configuration, data set (u: unaligned) and resolution."""


class StyleGAN3(nn.Module):
    """A generator.

    Parameters
    ----------
    resolution
        Side of its images in pixels, a power of two.
    channel_base, channel_max
        A layer has `channel_base / (2 · cutoff)` channels, but never more than `channel_max`.
    layers
        How many there are before to-RGB.
    z_dim, w_dim, c_dim
        Lengths of latents, styles and conditions; `c_dim` is 0 where the network has no condition.
    mapping_layers, mapping_rate
        How many layers the mapping has, and their learning rate relative to the rest.
    output_scale
        From what to-RGB puts out to images in −1..1.
    bands, filtering
        Of the synthesis. Configuration R has convolutions of a single position, and filters that treat all directions
        alike.
    psi
        Truncation: styles go from their mean (0) to what the mapping makes of the latents (1).
    """

    def __init__(
        self,
        resolution: int,
        *,
        channel_base: int = 32768,
        channel_max: int = 512,
        layers: int = 14,
        z_dim: int = 512,
        w_dim: int = 512,
        c_dim: int = 0,
        mapping_layers: int = 2,
        mapping_rate: float = MAPPING_RATE,
        output_scale: float = OUTPUT_SCALE,
        bands: Bands = PUBLISHED_BANDS,
        filtering: Filtering = Filtering(),
        psi: float = 1.0,
    ) -> None:
        super().__init__()
        self.resolution, self.z_dim = resolution, z_dim
        steps = schedule(resolution, layers, channel_base, channel_max, bands)
        self.synthesis = Synthesis(tuple((step, filtering) for step in steps), w_dim, output_scale)
        self.mapping = StyleMapping(
            z_dim, w_dim, self.synthesis.styles, mapping_layers, c_dim=c_dim, rate=mapping_rate, psi=psi
        )

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Paths of the synthesis layers, whose outputs are maps, in forward order."""
        return tuple(f"synthesis.{name}" for name in self.synthesis.names)

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """(image, z) standard normal, and (image, c) if there is a condition → (image, rgb, y, x) in −1..1."""
        images: Tensor = self.synthesis(self.mapping(z, c))
        return images


MAPPING: Table = {
    "z_dim": Honoured("z_dim", COUNT),
    "c_dim": Honoured("c_dim", SIZE),
    "w_dim": Honoured("w_dim", COUNT),
    "num_ws": FOLLOWS,
    "num_layers": Honoured("mapping_layers", COUNT),
    "lr_multiplier": Honoured("mapping_rate", NUMBER),
    "w_avg_beta": IN_TRAINING,
}
"""What becomes of the arguments of NVIDIA's `MappingNetwork`."""
SYNTHESIS: Table = {
    "w_dim": Honoured("w_dim", COUNT),
    "img_resolution": Honoured("resolution", COUNT),
    "img_channels": Only(3),
    "channel_base": Honoured("channel_base", NUMBER),
    "channel_max": Honoured("channel_max", COUNT),
    "num_layers": Honoured("layers", COUNT),
    "num_critical": Honoured("critical", SIZE),
    "first_cutoff": Honoured("first_cutoff", NUMBER),
    "first_stopband": Honoured("first_stopband", NUMBER),
    "last_stopband_rel": Honoured("last_stopband", NUMBER),
    "margin_size": Honoured("margin", SIZE),
    "output_scale": Honoured("output_scale", FACTOR),
    "num_fp16_res": IN_FLOAT32,
    # Handed on to each layer.
    "conv_kernel": Honoured("kernel", COUNT),
    "filter_size": Honoured("filter_size", FEW),
    "lrelu_upsampling": Honoured("oversampling", FEW),
    "use_radial_filters": Honoured("radial", FLAG),
    "conv_clamp": Honoured("clamp", CLAMP),
    "magnitude_ema_beta": IN_TRAINING,
}
"""And of its `SynthesisNetwork`."""
GENERATOR: Table = {
    "z_dim": Honoured("z_dim", COUNT),
    "c_dim": Honoured("c_dim", SIZE),
    "w_dim": Honoured("w_dim", COUNT),
    "img_resolution": Honoured("resolution", COUNT),
    "img_channels": Only(3),
    "mapping_kwargs": MAPPING,
    "synthesis_kwargs": SYNTHESIS,
    **SYNTHESIS,
}
"""And of its `Generator`."""


def recognise(state: Mapping[str, Tensor]) -> Arguments:
    """Which generator a state dict is of.

    Returns
    -------
    Arguments
        All of them; `psi` is no part of the weights. What no tensor tells is as the file says, or else as published.

    Raises
    ------
    MisfitError
        It is of another architecture, or its constructor was given what is not known; the message names what differs
        first.
    """
    layers = layers_in(state, "StyleGAN3")
    first, last = layers[0], layers[-1]
    embeds = "mapping.embed.weight" in state
    if "mapping.embed_proj.weight" in state or (embeds and "mapping.embed.bias" not in state):
        raise MisfitError("they are StyleGAN-XL's, not StyleGAN3's: they have an embedding of classes")
    w_dim, inputs = shape_of(state, "mapping.fc0.weight", 2, "StyleGAN3")
    told = agreeing(given(state, "", GENERATOR), given(state, "synthesis", SYNTHESIS), given(state, "mapping", MAPPING))
    seen = {
        "resolution": last.size,
        "layers": last.index,
        "z_dim": inputs - (w_dim if embeds else 0),
        "w_dim": w_dim,
        "c_dim": shape_of(state, "mapping.embed.weight", 2, "StyleGAN3")[1] if embeds else 0,
        "mapping_layers": mapping_layers(state),
    }
    require_shapes(told, **seen)
    arguments = Arguments(
        **seen,  # type: ignore[typeddict-item]
        channel_base=told.get("channel_base", channel_base(layers)),
        channel_max=told.get("channel_max", first.channels),
        mapping_rate=told.get("mapping_rate", MAPPING_RATE),
        output_scale=told.get("output_scale", OUTPUT_SCALE),
        bands=told_bands(told),
        filtering=told_filtering(state, told, first.name),
    )
    compare(lambda: StyleGAN3(**arguments), state, "StyleGAN3")
    return arguments


def told_bands(told: Told) -> Bands:
    """Those that arguments of a constructor ask for."""
    return replace(PUBLISHED_BANDS, **{each.name: told[each.name] for each in fields(Bands) if each.name in told})


def told_filtering(state: Mapping[str, Tensor], told: Told, first: str) -> Filtering:
    """How layers filter: as arguments of a constructor ask for, or as shapes of the first layer's tensors show."""
    kernel = shape_of(state, f"synthesis.{first}.weight", 4, "StyleGAN3")[3]
    radial = state.get(f"synthesis.{first}.down_filter", torch.empty(0)).ndim == 2
    require_shapes(told, kernel=kernel)
    seen = {"kernel": kernel, "radial": radial, **clamp_of_layers(state), **told}
    return Filtering(**{each.name: seen[each.name] for each in fields(Filtering) if each.name in seen})

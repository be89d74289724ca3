"""StyleGAN-XL (Sauer et al., 2022, arXiv 2202.00273): StyleGAN3-T with a class, grown from a small stem.

A stem is trained at 16 × 16; each later stage takes off what is sampled critically and puts layers for twice the
resolution in its place. Modules and tensors have the names that they have in the published checkpoints (`G_ema`).
"""

from collections.abc import Mapping
from typing import TypedDict

import torch
from torch import Tensor, nn

from rosetta.zoo.families.stylegan.fit import FoundLayer, channel_base, compare, layers_in, shape_of
from rosetta.zoo.families.stylegan.kaiser import CRITICAL, MARGIN, extend, schedule
from rosetta.zoo.families.stylegan.modulation import MAPPING_RATE, Dense, normalise
from rosetta.zoo.families.stylegan.stylegan3 import Synthesis
from rosetta.zoo.weights.statedict import MisfitError


class Arguments(TypedDict, total=False):
    """What :class:`StyleGANXL` takes; what is left out has its default."""

    resolution: int
    stem_resolution: int
    stem_layers: int
    head_layers: int
    channel_base: int
    channel_max: int
    z_dim: int
    w_dim: int
    c_dim: int
    embedding_dim: int


PUBLISHED: dict[str, Arguments] = {
    f"imagenet-{resolution}": Arguments(resolution=resolution) for resolution in (16, 32, 64, 128, 256, 512)
}
"""The released generators of ImageNet's classes whose layers are known, by resolution."""


class StyleGANXL(nn.Module):
    """A generator of images of a class.

    Parameters
    ----------
    resolution
        Side of its images in pixels, a power of two.
    stem_resolution, stem_layers
        Of the stem: side of its images, and layers before to-RGB.
    head_layers
        Layers before to-RGB that each later stage puts on.
    channel_base, channel_max
        A layer has `channel_base / (2 · cutoff)` channels, but never more than `channel_max`.
    z_dim, w_dim, c_dim
        Length of latents and of styles, and number of classes.
    embedding_dim
        Length of a class's embedding: mean features of its photographs in a classifier (EfficientNet-lite0), taken
        before training and kept with the weights.
    psi
        Truncation: styles go from the mean of their class (0) to what the mapping makes of the latents (1).
    """

    def __init__(
        self,
        resolution: int,
        *,
        stem_resolution: int = 16,
        stem_layers: int = 10,
        head_layers: int = 7,
        channel_base: int = 65536,
        channel_max: int = 1024,
        z_dim: int = 64,
        w_dim: int = 512,
        c_dim: int = 1000,
        embedding_dim: int = 320,
        psi: float = 1.0,
    ) -> None:
        super().__init__()
        steps = schedule(stem_resolution, stem_layers, channel_base, channel_max)
        reached = stem_resolution
        while reached < resolution:
            reached *= 2
            steps = extend(steps, reached, head_layers, channel_base, channel_max)
        if reached != resolution:
            raise ValueError(f"a stem of {stem_resolution} pixels never grows to {resolution} by doubling")
        self.resolution, self.z_dim, self.classes = resolution, z_dim, c_dim
        self.mapping = ClassMapping(z_dim, w_dim, c_dim, embedding_dim, 1 + len(steps), psi)
        self.synthesis = Synthesis(steps, w_dim)

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Paths of the synthesis layers, whose outputs are maps, in forward order."""
        return tuple(f"synthesis.{name}" for name in self.synthesis.names)

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        """(image, z) standard normal and classes as :class:`ClassMapping` takes them → (image, rgb, y, x) in −1..1."""
        images: Tensor = self.synthesis(self.mapping(z, c))
        return images


class ClassMapping(nn.Module):
    """From latents and classes to styles: both normalised, two layers, truncation towards the mean of the class."""

    w_avg: Tensor

    def __init__(self, z_dim: int, w_dim: int, c_dim: int, embedding_dim: int, styles: int, psi: float) -> None:
        super().__init__()
        self.styles, self.psi = styles, psi
        self.embed = nn.Embedding(c_dim, embedding_dim)
        self.embed_proj = Dense(embedding_dim, z_dim, lrelu=True)
        self.fc0 = Dense(2 * z_dim, w_dim, lrelu=True, rate=MAPPING_RATE)
        self.fc1 = Dense(w_dim, w_dim, lrelu=True, rate=MAPPING_RATE)
        self.register_buffer("w_avg", torch.zeros(c_dim, w_dim))

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        """Styles of latents.

        Parameters
        ----------
        z
            (image, z) standard normal.
        c
            (image, class), of which the largest counts, or (image,) indices of classes.

        Returns
        -------
        Tensor
            (image, style, w).

        Raises
        ------
        ValueError
            The classes have another shape.
        """
        classes = self._classes(z, c)
        condition = self.embed_proj(self.embed(classes))
        w = self.fc1(self.fc0(torch.cat([normalise(z), normalise(condition)], 1)))
        return self.w_avg[classes].lerp(w, self.psi)[:, None].repeat(1, self.styles, 1)

    def _classes(self, z: Tensor, c: Tensor) -> Tensor:
        """(image,) indices."""
        count = self.embed.num_embeddings
        if c.shape == (len(z), count):
            return c.argmax(1)
        if c.shape == (len(z),) and not c.is_floating_point():
            return c
        raise ValueError(f"classes are {c.dtype} {tuple(c.shape)}, not ({len(z)}, {count}) or integers ({len(z)},)")


def recognise(state: Mapping[str, Tensor]) -> Arguments:
    """Which generator a state dict is of.

    Returns
    -------
    Arguments
        All of them; the channel base is the least that gives this network. `psi` is no part of the weights.

    Raises
    ------
    MisfitError
        It is of another architecture; the message names what differs first.
    """
    layers = layers_in(state, "StyleGAN-XL")
    if "mapping.embed_proj.weight" not in state:
        known = "mapping.embed.weight" in state
        why = "it was trained without, which is not known here" if known else "are they StyleGAN3's?"
        raise MisfitError(f"they are no StyleGAN-XL's with classes: 'mapping.embed_proj.weight' is missing; {why}")
    classes, embedding = shape_of(state, "mapping.embed.weight", 2, "StyleGAN-XL")
    arguments = Arguments(
        resolution=layers[-1].size,
        **_stages(layers),
        channel_base=channel_base(layers),
        channel_max=layers[0].channels,
        z_dim=shape_of(state, "mapping.embed_proj.weight", 2, "StyleGAN-XL")[0],
        w_dim=shape_of(state, "mapping.fc0.weight", 2, "StyleGAN-XL")[0],
        c_dim=classes,
        embedding_dim=embedding,
    )
    compare(lambda: StyleGANXL(**arguments), state, "StyleGAN-XL")
    return arguments


def _stages(layers: list[FoundLayer]) -> Arguments:
    """Resolution and layers of the stem, and layers of each later stage, from the indices of the layers."""
    last = layers[-1]
    kept = next((place for place, layer in enumerate(layers) if layer.index != place), None)
    if kept is None:  # no index is left out where nothing was put on
        return Arguments(stem_resolution=last.size, stem_layers=last.index)
    stem = layers[kept - 1].size - 2 * MARGIN
    stages = max((last.size // max(stem, 1)).bit_length() - 1, 1)
    # All stages but the last have lost their critically sampled layers.
    heads = last.index - (kept + 1) + (stages - 1) * CRITICAL
    return Arguments(stem_resolution=stem, stem_layers=kept + CRITICAL, head_layers=heads // stages)

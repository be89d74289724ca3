"""From latents to styles, and the network that a mapping and a synthesis make."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rosetta.zoo.families.stylegan.modulation import MAPPING_RATE, Dense, normalise


@dataclass(frozen=True, kw_only=True)
class MappingConfig:
    """What a mapping is built with."""

    z_dim: int = 512
    """Length of latents."""
    w_dim: int = 512
    """Length of styles."""
    c_dim: int = 0
    """Length of conditions, or number of classes; 0 where the network has none."""
    embedding: int | None = None
    """Length of what a condition is brought to before it is normalised and put behind the latent; `w_dim` if None."""
    mapping_layers: int = 8
    mapping_width: int | None = None
    """What a layer before the last puts out; `w_dim` if None."""
    mapping_activation: str = "lrelu"
    mapping_rate: float = MAPPING_RATE
    """Learning rate of the layers, relative to the rest."""


class Mapping(nn.Module):
    """Layers `fc0`, `fc1`, …, and truncation towards a mean style.

    Parameters
    ----------
    styles
        How many a network takes; all of an image are the same.
    psi
        Truncation: styles go from the stored mean (0) to what the layers make of the latents (1).
    """

    w_avg: Tensor

    def __init__(self, config: MappingConfig, styles: int, psi: float) -> None:
        super().__init__()
        self.styles, self.layers, self.psi = styles, config.mapping_layers, psi

    def _add_layers(self, inputs: int, config: MappingConfig) -> None:
        width = config.w_dim if config.mapping_width is None else config.mapping_width
        widths = [inputs, *[width] * (self.layers - 1), config.w_dim]
        for layer in range(self.layers):
            dense = Dense(
                widths[layer], widths[layer + 1], activation=config.mapping_activation, rate=config.mapping_rate
            )
            self.add_module(f"fc{layer}", dense)

    def _styles(self, w: Tensor, mean: Tensor) -> Tensor:
        """(image, style, w) of (image, z and condition), truncated towards a mean (w,) or (image, w)."""
        for layer in range(self.layers):
            w = self.get_submodule(f"fc{layer}")(w)
        return mean.lerp(w, self.psi)[:, None].repeat(1, self.styles, 1)


class StyleMapping(Mapping):
    """As StyleGAN2 and StyleGAN3 do it in NVIDIA's layout: truncation is towards the mean of all styles."""

    def __init__(self, config: MappingConfig, styles: int, psi: float = 1.0) -> None:
        super().__init__(config, styles, psi)
        condition = (config.w_dim if config.embedding is None else config.embedding) if config.c_dim else 0
        self.register_buffer("w_avg", torch.zeros(config.w_dim))
        self.embed = Dense(config.c_dim, condition) if config.c_dim else None
        self._add_layers(config.z_dim + condition, config)

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """(image, z), and a condition (image, c) or classes (image,) int64 if there is one → (image, style, w).

        Raises
        ------
        ValueError
            There is a condition and `c` is left out.
        """
        w = normalise(z)
        if self.embed is not None:
            length = self.embed.weight.shape[1]
            if c is None:
                raise ValueError(f"the network is conditional; give it c, (image, {length})")
            condition = F.one_hot(c, length) if c.ndim == 1 else c
            w = torch.cat([w, normalise(self.embed(condition.to(z.dtype)))], 1)
        return self._styles(w, self.w_avg)


class StyleGenerator(nn.Module):
    """A generator in two parts, `mapping` and `synthesis`."""

    mapping: nn.Module
    synthesis: nn.Module

    def __init__(self, config: MappingConfig, resolution: int) -> None:
        super().__init__()
        self.resolution, self.z_dim, self.classes = resolution, config.z_dim, config.c_dim or None

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Paths of the layers whose maps are looked at, in forward order."""
        return tuple(f"synthesis.{name}" for name in self.synthesis.names)  # type: ignore[union-attr]

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """(image, z) standard normal, and a condition if there is one → (image, rgb, y, x) in −1..1, not clamped."""
        images: Tensor = self.synthesis(self.mapping(z, c))
        return images

"""From latents to styles, as StyleGAN2 and StyleGAN3 do it in NVIDIA's layout."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rosetta.zoo.families.stylegan.modulation import MAPPING_RATE, Dense, normalise


class StyleMapping(nn.Module):
    """Normalisation, layers `fc0`, `fc1`, …, truncation towards the mean of all styles.

    Parameters
    ----------
    z_dim, w_dim
        Lengths of latents and of styles.
    styles
        How many a network takes; all of an image are the same.
    layers
        How many layers there are.
    c_dim
        Length of conditions, or number of classes; 0 where the network has none.
    embedding
        Length of what a condition is brought to before it is normalised and put behind the latent; `w_dim` if None.
    width
        What a layer before the last puts out; `w_dim` if None.
    activation, rate
        Of the layers.
    psi
        Truncation: styles go from the stored mean (0) to what the layers make of the latents (1).
    """

    w_avg: Tensor

    def __init__(
        self,
        z_dim: int,
        w_dim: int,
        styles: int,
        layers: int,
        *,
        c_dim: int = 0,
        embedding: int | None = None,
        width: int | None = None,
        activation: str = "lrelu",
        rate: float = MAPPING_RATE,
        psi: float = 1.0,
    ) -> None:
        super().__init__()
        self.styles, self.layers, self.psi = styles, layers, psi
        condition = (w_dim if embedding is None else embedding) if c_dim else 0
        widths = [z_dim + condition, *[w_dim if width is None else width] * (layers - 1), w_dim]
        self.register_buffer("w_avg", torch.zeros(w_dim))
        self.embed = Dense(c_dim, condition) if c_dim else None
        for layer in range(layers):
            dense = Dense(widths[layer], widths[layer + 1], activation=activation, rate=rate)
            self.add_module(f"fc{layer}", dense)

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
        for layer in range(self.layers):
            w = self.get_submodule(f"fc{layer}")(w)
        return self.w_avg.lerp(w, self.psi)[:, None].repeat(1, self.styles, 1)

"""Pixel MeanFlow (Lu et al., 2026, arXiv 2601.22158): a transformer that turns noise into an image in one step.

    class, guidance, its interval, step ─► 20 tokens ─┐
    noise ─► patches ─► tokens ───────────────────────┴► shared blocks ─► u blocks ─► patches of the image

The network predicts the image x itself. The average velocity over the step from t to r is u = (z − x) / t, and a step
gives z − (t − r) u. For the one step from t = 1 to r = 0 that is x, so that it is returned as it is.

Tensors have the names of the authors' PyTorch release, less the wrappers `_flax_linear` and `_flax_embedding` around
each layer. What only training needs (`v_heads`, `v_final_layer`) is left out.
"""

import math
from collections import OrderedDict
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_EPSILON = 1e-6
_BASE = 10_000.0
"""Of the wavelengths, of positions and of scalars alike."""
TOKENS = ("class", "omega", "t_min", "t_max", "time")
"""Kinds of the tokens before the patches, in their order."""


@dataclass(frozen=True)
class Config:
    """Sizes of a network."""

    side: int
    """Patches along a side of the image."""
    patch: int
    """Side of a patch, in pixels."""
    hidden: int
    """Length of a token."""
    heads: int
    """Of the attention."""
    shared: int
    """Blocks that training shares between its two predictions."""
    own: int
    """Blocks after them that only the prediction of the image has."""
    mlp: int
    """Hidden units of each MLP."""
    bottleneck: int
    """Length to which patches are brought first."""
    classes: int = 1000
    """How many there are; one more embedding stands for none of them."""
    tokens: tuple[int, ...] = (8, 4, 2, 2, 4)
    """Numbers of tokens for the class, the guidance, the start and the end of its interval, and the step."""
    frequencies: int = 256
    """Cosines and sines by which a scalar is embedded."""

    @property
    def size(self) -> int:
        """Side of the images, in pixels."""
        return self.side * self.patch


@dataclass(frozen=True)
class Sampling:
    """Conditioning of a network beside the class."""

    noise: float = 1.0
    """Standard deviation of the noise that it starts from."""
    guidance: float = 1.0
    """Classifier-free guidance, which the network takes as an input; 1: none."""
    interval: tuple[float, float] = (0.0, 1.0)
    """Times between which it is guided, from 0 (image) to 1 (noise)."""


class _Scalar(nn.Module):
    """(1,) → (1, hidden)."""

    def __init__(self, frequencies: int, hidden: int) -> None:
        super().__init__()
        self.pairs = frequencies // 2
        self.mlp = nn.Sequential(nn.Linear(frequencies, hidden), nn.SiLU(), nn.Linear(hidden, hidden))

    def forward(self, value: Tensor) -> Tensor:
        """Cosines, then sines, of falling frequencies."""
        places = torch.arange(self.pairs, device=value.device, dtype=value.dtype)
        falling = torch.exp(places * (-math.log(_BASE) / self.pairs))
        angles = value[:, None] * falling
        embedded: Tensor = self.mlp(torch.cat([angles.cos(), angles.sin()], 1))
        return embedded


class _Attention(nn.Module):
    """Self-attention with normalised queries and keys, which are turned by their positions."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.width = hidden // heads
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            self.add_module(name, nn.Linear(hidden, hidden, bias=False))
        self.q_norm, self.k_norm = (nn.RMSNorm(self.width, _EPSILON) for _ in range(2))

    def forward(self, tokens: Tensor, angles: Tensor) -> Tensor:
        """(image, token, hidden) → the same; angles are (token, head channel pair)."""
        query, key, value = (
            self.get_submodule(name)(tokens).unflatten(2, (-1, self.width)) for name in ("q_proj", "k_proj", "v_proj")
        )
        query, key = _turned(self.q_norm(query), angles), _turned(self.k_norm(key), angles)
        query, key, value = (each.transpose(1, 2) for each in (query, key, value))
        attended = F.scaled_dot_product_attention(query, key, value)
        projected: Tensor = self.get_submodule("out_proj")(attended.transpose(1, 2).flatten(2))
        return projected


class _GatedMLP(nn.Module):
    """w2(silu(w1 x) · w3 x); hidden units are what w2 takes."""

    def __init__(self, hidden: int, inner: int) -> None:
        super().__init__()
        self.w1, self.w3 = (nn.Linear(hidden, inner, bias=False) for _ in range(2))
        self.w2 = nn.Linear(inner, hidden, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """(image, token, hidden) → the same."""
        projected: Tensor = self.w2(F.silu(self.w1(tokens)) * self.w3(tokens))
        return projected


class _Block(nn.Module):
    """Attention and MLP, each weighted channel by channel."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.RMSNorm(config.hidden, _EPSILON) for _ in range(2))
        self.attn = _Attention(config.hidden, config.heads)
        self.mlp = _GatedMLP(config.hidden, config.mlp)
        # Training starts from 0, with which an untrained network would make one image of all noise.
        self.attn_scale, self.mlp_scale = (nn.Parameter(torch.ones(config.hidden)) for _ in range(2))

    def forward(self, tokens: Tensor, angles: Tensor) -> Tensor:
        """(image, token, hidden) → the same."""
        tokens = tokens + self.attn(self.norm1(tokens), angles) * self.attn_scale
        return tokens + self.mlp(self.norm2(tokens)) * self.mlp_scale


class PixelMeanFlow(nn.Module):
    """A generator of images of a class.

    Parameters
    ----------
    config
        Its sizes.
    sampling
        Its conditioning beside noise and class.

    Raises
    ------
    ValueError
        Tokens cannot be split into so many heads, or heads into turned pairs for y and x.
    """

    angles: Tensor

    def __init__(self, config: Config, sampling: Sampling) -> None:
        super().__init__()
        width, hidden = config.hidden // config.heads, config.hidden
        if width * config.heads != hidden or width % 4:
            raise ValueError(f"{config.heads} heads of {hidden} numbers are not of a multiple of 4 each")
        self.config, self.sampling = config, sampling
        reduce = nn.Conv2d(3, config.bottleneck, config.patch, config.patch)
        self.x_embedder = _named(proj1=reduce, proj2=nn.Conv2d(config.bottleneck, hidden, 1))
        self.y_embedder = _named(embedding_table=nn.Embedding(config.classes + 1, hidden))
        for name in ("h", "omega", "cfg_t_start", "cfg_t_end"):
            self.add_module(f"{name}_embedder", _Scalar(config.frequencies, hidden))
        for name, count in zip(TOKENS, config.tokens, strict=True):
            self.register_parameter(f"{name}_tokens", nn.Parameter(torch.randn(1, count, hidden) / hidden**0.5))
        prefix = sum(config.tokens)
        self.pos_embed = nn.Parameter(torch.randn(1, prefix + config.side**2, hidden) * 0.02)
        self.shared_blocks = nn.ModuleList(_Block(config) for _ in range(config.shared))
        self.u_heads = nn.ModuleList(_Block(config) for _ in range(config.own))
        last = nn.Linear(hidden, 3 * config.patch**2)
        self.u_final_layer = _named(norm=nn.RMSNorm(hidden, _EPSILON), linear=last)
        self.register_buffer("angles", _angles(config.side, prefix, width), persistent=False)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """Make images.

        Parameters
        ----------
        z
            (image, 3 · y · x), normal with the standard deviation :attr:`Sampling.noise`.
        labels
            (image,) int64, indices of classes.

        Returns
        -------
        Tensor
            (image, rgb, y, x), in −1..1 but for what the prediction oversteps.
        """
        config = self.config
        patches = self.x_embedder(z.unflatten(1, (3, config.size, config.size))).flatten(2).transpose(1, 2)
        tokens = torch.cat([*self._condition(labels), patches], 1) + self.pos_embed
        for block in (*self.shared_blocks, *self.u_heads):
            tokens = block(tokens, self.angles)
        pixels = self.u_final_layer(tokens[:, sum(config.tokens) :])
        pixels = pixels.unflatten(2, (config.patch, config.patch, 3)).unflatten(1, (config.side, config.side))
        images: Tensor = pixels.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)
        return images

    def _condition(self, labels: Tensor) -> list[Tensor]:
        """(image, token, hidden) of each kind of tokens before the patches."""
        start, end = self.sampling.interval
        # Guidance g goes in as 1 − 1/g, and of the step its length t − r, which is 1.
        scalars = {"omega": 1 - 1 / self.sampling.guidance, "cfg_t_start": start, "cfg_t_end": end, "h": 1.0}
        embedded = [self.y_embedder(labels)]
        for name, value in scalars.items():
            embedded.append(self.get_submodule(f"{name}_embedder")(self.pos_embed.new_tensor([value])))
        return [
            (self.get_parameter(f"{kind}_tokens") + each[:, None]).expand(len(labels), -1, -1)
            for kind, each in zip(TOKENS, embedded, strict=True)
        ]


def _named(**parts: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(parts))


def _angles(side: int, prefix: int, width: int) -> Tensor:
    """(token, pair of a head's channels): pairs of the first half turn with y, the others with x, the prefix does not.

    A pair is two neighbouring channels (Su et al., 2021, arXiv 2104.09864).
    """
    half = width // 2
    falling = _BASE ** (-torch.arange(0, half, 2, dtype=torch.float32) / half)
    along = torch.arange(side, dtype=torch.float32)[:, None] * falling
    y, x = along[:, None].expand(-1, side, -1), along[None].expand(side, -1, -1)
    return torch.cat([torch.zeros(prefix, half), torch.cat([y, x], 2).flatten(0, 1)])


def _turned(heads: Tensor, angles: Tensor) -> Tensor:
    """(image, token, head, channel) with each pair of channels turned."""
    one, other = heads.unflatten(3, (-1, 2)).unbind(4)
    cos, sin = angles.cos()[:, None], angles.sin()[:, None]
    return torch.stack([one * cos - other * sin, one * sin + other * cos], 4).flatten(3)

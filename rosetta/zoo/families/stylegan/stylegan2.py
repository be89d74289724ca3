"""Which StyleGAN2 generators are published, and which one a state dict is of."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

from rosetta.zoo.families.stylegan import stylegan2_nvidia, stylegan2_rosinality
from rosetta.zoo.families.stylegan.arguments import Arguments, clamp_of_layers
from rosetta.zoo.families.stylegan.filters import BINOMIAL
from rosetta.zoo.families.stylegan.fit import compare, mapping_layers, shape_of
from rosetta.zoo.families.stylegan.modulation import CHANNEL_BASE, CHANNEL_MAX
from rosetta.zoo.families.stylegan.modulation import widths as widths_of
from rosetta.zoo.families.stylegan.signatures import STYLEGAN2
from rosetta.zoo.weights.statedict import MisfitError

MEAN = "latent_avg"
"""The mean style, beside the state dict in files of rosinality's layout."""
Generator = stylegan2_nvidia.Generator | stylegan2_rosinality.Generator
_ARCHITECTURE = "StyleGAN2"
_OTHERS = {
    "synthesis.input.freqs": "StyleGAN3's or StyleGAN-XL's",
    "b4.out.weight": "a discriminator's",
    "final_linear.1.weight": "a discriminator's",
}
"""Tensors that give away what else a state dict may be of."""


@dataclass(frozen=True)
class Network:
    """A generator, untrained, in one of the two layouts."""

    layout: Literal["nvidia", "rosinality"]
    resolution: int
    """Side in pixels of its images, which are always square."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What else it is built with; as published by default."""

    def build(self, psi: float = 1.0) -> Generator:
        """The generator; `psi` is its truncation."""
        if self.layout == "nvidia":
            config = stylegan2_nvidia.Config(resolution=self.resolution, **self.options)
            return stylegan2_nvidia.Generator(config, psi)
        return stylegan2_rosinality.Generator(self.resolution, psi=psi, **self.options)


def _converted(resolution: int) -> Network:
    """Released for TensorFlow, and converted to rosinality's layout."""
    return Network("rosinality", resolution)


def _released(resolution: int, **options: Any) -> Network:
    """First released in NVIDIA's layout."""
    return Network("nvidia", resolution, options)


PUBLISHED: dict[str, Network] = {
    # Config F of the paper, released for TensorFlow.
    "ffhq-1024": _converted(1024),
    "lsun-car": _converted(512),  # black above and below 384 rows, as in training
    "lsun-cat": _converted(256),
    "lsun-church": _converted(256),
    "lsun-horse": _converted(256),
    # Released later with the code of StyleGAN2-ADA and StyleGAN3; u: unaligned. `ffhq-256` is also rosinality's own.
    "afhqcat-512": _released(512),
    "afhqdog-512": _released(512),
    "afhqv2-512": _released(512),
    "afhqwild-512": _released(512),
    "brecahad-512": _released(512),
    "celebahq-256": _released(256),
    "cifar10-32": _released(32, c_dim=10, mapping_layers=2),
    "ffhq-256": _released(256),
    "ffhq-512": _released(512),
    "ffhqu-1024": _released(1024),
    "ffhqu-256": _released(256),
    "lsun-dog": _released(256),
    "metfaces-1024": _released(1024),
    "metfacesu-1024": _released(1024),
}
"""The released networks. Widths of a file are read off its weights, as networks of one name may differ in them: from
64 × 64 on, NVIDIA's `ffhq-256` has half the channels of rosinality's."""


def recognise(state: Mapping[str, Tensor]) -> Network:
    """Which generator a state dict is of; widths and lengths are read off its shapes.

    Parameters
    ----------
    state
        In either layout. A mean style may lie beside it, as :data:`MEAN`; NVIDIA's layout has it among its weights.

    Raises
    ------
    MisfitError
        It is not a generator's of this architecture, or its constructor was given what is not known; the message names
        what differs first.
    """
    if "synthesis.b4.const" in state:
        network = _nvidia(state)
    elif "input.input" in state:
        network = _rosinality(state)
    else:
        known = next((f"they are {other}: there is {name!r}" for name, other in _OTHERS.items() if name in state), None)
        first = next(map(repr, state), "nothing")
        why = known or f"neither 'synthesis.b4.const' nor 'input.input' is among them, there is {first}"
        raise MisfitError(f"they are no {_ARCHITECTURE} generator's: {why}")
    compare(network.build, {name: tensor for name, tensor in state.items() if name != MEAN}, _ARCHITECTURE)
    return network


def _nvidia(state: Mapping[str, Tensor]) -> Network:
    if "synthesis.b8.skip.weight" in state:
        raise MisfitError(
            f"they are residual, which no known {_ARCHITECTURE} generator is: there is 'synthesis.b8.skip.weight'"
        )
    sides = _doubled(_count(state, r"synthesis\.b\d+\.conv1\.weight"))
    widths = {4: _shape(state, "synthesis.b4.const", 3)[0]}
    widths |= {side: _shape(state, f"synthesis.b{side}.conv1.weight", 4)[0] for side in sides}
    layers = mapping_layers(state)
    width, inputs = _shape(state, "mapping.fc0.weight", 2)
    embedding, c_dim = _shape(state, "mapping.embed.weight", 2) if "mapping.embed.weight" in state else (0, 0)
    shapes = {
        "z_dim": inputs - embedding,
        "c_dim": c_dim,
        "w_dim": _shape(state, f"mapping.fc{layers - 1}.weight", 2)[0],
        "mapping_layers": layers,
        "noise": "synthesis.b4.conv1.noise_const" in state,
    }
    arguments = Arguments(state, STYLEGAN2)
    # A network without a condition has no embedding, and one of a single layer no width inside.
    inside = {"embedding": embedding} if c_dim else {}
    inside |= {"mapping_width": width} if layers > 1 else {}
    arguments.require(**shapes, **inside, resolution=max(widths))
    if "channel_base" in arguments or "channel_max" in arguments:
        limits = arguments.pop("channel_base", CHANNEL_BASE), arguments.pop("channel_max", CHANNEL_MAX)
        if (asked := widths_of(max(widths), *limits)) != widths:
            raise MisfitError(
                f"its constructor's channel_base and channel_max ask for widths {list(asked.values())}, and its "
                f"tensors are of {list(widths.values())}; download the file again from where it was published"
            )
    arguments.pop("resolution", None)
    options = {"taps": _taps(state), **clamp_of_layers(state), **arguments, **shapes}
    return Network("nvidia", max(widths), options | {"widths": widths, "embedding": embedding, "mapping_width": width})


def _taps(state: Mapping[str, Tensor]) -> tuple[float, ...]:
    """What the filters among the tensors are products of."""
    filter_ = state.get("synthesis.b4.resample_filter")
    return BINOMIAL if filter_ is None or filter_.is_meta or filter_.ndim != 2 else tuple(filter_.sum(1).tolist())


def _rosinality(state: Mapping[str, Tensor]) -> Network:
    sides = _doubled(1 + _count(state, r"to_rgbs\.\d+\.conv\.weight"))
    widths = {4: _shape(state, "input.input", 4)[1]}
    widths |= {side: _shape(state, f"convs.{2 * place + 1}.conv.weight", 5)[1] for place, side in enumerate(sides)}
    layers, w_dim = _count(state, r"style\.\d+\.weight"), _shape(state, "style.1.weight", 2)[0]
    mean, bias = state.get(MEAN), state.get("style.1.bias")
    if mean is not None and bias is not None and mean.numel() != bias.numel():
        raise MisfitError(f"{MEAN!r} beside them is {tuple(mean.shape)}, not one style of {bias.numel()} numbers")
    style = None if mean is None else mean.float()
    options = {"widths": widths, "w_dim": w_dim, "mapping_layers": layers, "truncation_latent": style}
    return Network("rosinality", max(widths), options)


def _doubled(blocks: int) -> list[int]:
    """Sides of the grids of so many blocks, without the first."""
    return [4 << block for block in range(1, blocks)]


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    return sum(re.fullmatch(pattern, name) is not None for name in state)


def _shape(state: Mapping[str, Tensor], name: str, axes: int) -> tuple[int, ...]:
    return shape_of(state, name, axes, _ARCHITECTURE)

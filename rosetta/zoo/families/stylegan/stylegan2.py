"""Which StyleGAN2 generators are published, and which one a state dict is of."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from rosetta.zoo.families.stylegan import stylegan2_nvidia, stylegan2_rosinality
from rosetta.zoo.families.stylegan.fit import compare, shape_of
from rosetta.zoo.weights.statedict import MisfitError

LayoutName = Literal["nvidia", "rosinality"]
Generator = stylegan2_nvidia.Generator | stylegan2_rosinality.Generator
_ARCHITECTURE = "StyleGAN2"
_OTHERS = {
    "synthesis.input.freqs": "StyleGAN3's or StyleGAN-XL's",
    "b4.out.weight": "a discriminator's",
    "final_linear.1.weight": "a discriminator's",
}
"""Tensors that give away what else a state dict may be of."""


@dataclass(frozen=True)
class Published:
    """A released network.

    Its widths are read off its weights, as networks of one name may differ in them: from 64 × 64 on, NVIDIA's
    `ffhq-256` has half the channels of rosinality's.
    """

    resolution: int
    """Side in pixels of its images, which are always square."""
    converted: bool = False
    """Released for TensorFlow, and converted to rosinality's layout; else first released in NVIDIA's."""


PUBLISHED: dict[str, Published] = {
    # Config F of the paper, released for TensorFlow.
    "ffhq-1024": Published(1024, converted=True),
    "lsun-car": Published(512, converted=True),  # black above and below 384 rows, as in training
    "lsun-cat": Published(256, converted=True),
    "lsun-church": Published(256, converted=True),
    "lsun-horse": Published(256, converted=True),
    # Released later with the code of StyleGAN2-ADA and StyleGAN3; u: unaligned. `ffhq-256` is also rosinality's own.
    "afhqcat-512": Published(512),
    "afhqdog-512": Published(512),
    "afhqv2-512": Published(512),
    "afhqwild-512": Published(512),
    "brecahad-512": Published(512),
    "celebahq-256": Published(256),
    "ffhq-256": Published(256),
    "ffhq-512": Published(512),
    "ffhqu-1024": Published(1024),
    "ffhqu-256": Published(256),
    "lsun-dog": Published(256),
    "metfaces-1024": Published(1024),
    "metfacesu-1024": Published(1024),
}


def layout_of_state(state: Mapping[str, Tensor]) -> tuple[LayoutName, int]:
    """In which of the two layouts a state dict is, and the side of the images in pixels.

    Raises
    ------
    MisfitError
        It is not a generator's of this architecture without a condition; the message names what differs first.
    """
    layout, arguments = _recognise(state)
    return layout, arguments["resolution"]


def generator_for(state: Mapping[str, Tensor], *, psi: float = 1.0, **options: Any) -> Generator:
    """The generator, untrained, that a state dict fits; widths and lengths are read off its shapes.

    Parameters
    ----------
    state
        In either layout.
    psi
        Truncation, see the generators.
    options
        What else only one of the layouts takes: `clamp`, or `truncation_latent`.

    Raises
    ------
    MisfitError
        As :func:`layout_of_state`.
    """
    layout, arguments = _recognise(state)
    return _CLASSES[layout](**arguments, psi=psi, **options)


_CLASSES: dict[LayoutName, Callable[..., Generator]] = {
    "nvidia": stylegan2_nvidia.Generator,
    "rosinality": stylegan2_rosinality.Generator,
}


def _recognise(state: Mapping[str, Tensor]) -> tuple[LayoutName, dict[str, Any]]:
    """The layout, and what its generator is built with."""
    layout: LayoutName
    if "synthesis.b4.const" in state:
        layout, arguments = "nvidia", _nvidia(state)
    elif "input.input" in state:
        layout, arguments = "rosinality", _rosinality(state)
    else:
        known = next((f"they are {other}: there is {name!r}" for name, other in _OTHERS.items() if name in state), None)
        held = next(map(repr, state), "nothing")
        why = known or f"neither 'synthesis.b4.const' nor 'input.input' is among them, there is {held}"
        raise MisfitError(f"they are no {_ARCHITECTURE} generator's: {why}")
    compare(lambda: _CLASSES[layout](**arguments), state, _ARCHITECTURE)
    return layout, arguments


def _nvidia(state: Mapping[str, Tensor]) -> dict[str, Any]:
    for name, what in (("mapping.embed.weight", "have a condition"), ("synthesis.b8.skip.weight", "are residual")):
        if name in state:
            raise MisfitError(f"they {what}, which no known {_ARCHITECTURE} generator is: there is {name!r}")
    sides = _doubled(_count(state, r"synthesis\.b\d+\.conv1\.weight"))
    widths = {4: _shape(state, "synthesis.b4.const", 3)[0]}
    widths |= {side: _shape(state, f"synthesis.b{side}.conv1.weight", 4)[0] for side in sides}
    w_dim, z_dim = _shape(state, "mapping.fc0.weight", 2)
    layers = _count(state, r"mapping\.fc\d+\.weight")
    return _built(widths, w_dim, layers) | {"z_dim": z_dim}


def _rosinality(state: Mapping[str, Tensor]) -> dict[str, Any]:
    sides = _doubled(1 + _count(state, r"to_rgbs\.\d+\.conv\.weight"))
    widths = {4: _shape(state, "input.input", 4)[1]}
    widths |= {side: _shape(state, f"convs.{2 * place + 1}.conv.weight", 5)[1] for place, side in enumerate(sides)}
    layers = _count(state, r"style\.\d+\.weight")
    return _built(widths, _shape(state, "style.1.weight", 2)[0], layers)


def _built(widths: dict[int, int], w_dim: int, layers: int) -> dict[str, Any]:
    return {"resolution": max(widths), "widths": widths, "w_dim": w_dim, "mapping_layers": layers}


def _doubled(blocks: int) -> list[int]:
    """Sides of the grids of so many blocks, without the first."""
    return [4 << block for block in range(1, blocks)]


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    return sum(re.fullmatch(pattern, name) is not None for name in state)


def _shape(state: Mapping[str, Tensor], name: str, axes: int) -> tuple[int, ...]:
    return shape_of(state, name, axes, _ARCHITECTURE)

"""Which StyleGAN2 generators are published, and which one a state dict is of."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from rosetta.zoo.families.stylegan import stylegan2_nvidia, stylegan2_rosinality
from rosetta.zoo.families.stylegan.arguments import (
    ACTIVATION,
    AS_FAST,
    CLAMP,
    COUNT,
    COUNT_OR_NONE,
    FLAG,
    FOLLOWS,
    FOUR_TAPS,
    IN_FLOAT32,
    IN_TRAINING,
    NUMBER,
    SIZE,
    Honoured,
    Only,
    Table,
    agreeing,
    clamp_of_layers,
    given,
    require_shapes,
)
from rosetta.zoo.families.stylegan.filters import BINOMIAL
from rosetta.zoo.families.stylegan.fit import compare, mapping_layers, shape_of
from rosetta.zoo.families.stylegan.modulation import CHANNEL_BASE, CHANNEL_MAX, MAPPING_RATE
from rosetta.zoo.families.stylegan.modulation import widths as widths_of
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
    classes: int = 0
    """How many it knows."""
    mapping_layers: int = 8
    """Of its mapping."""


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
    "cifar10-32": Published(32, classes=10, mapping_layers=2),
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
        It is not a generator's of this architecture, or its constructor was given what is not known; the message names
        what differs first.
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
        What else only rosinality's layout takes, `truncation_latent`.

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


MAPPING: Table = {
    "z_dim": Honoured("z_dim", COUNT),
    "c_dim": Honoured("c_dim", SIZE),
    "w_dim": Honoured("w_dim", COUNT),
    "num_ws": FOLLOWS,
    "num_layers": Honoured("mapping_layers", COUNT),
    "embed_features": Honoured("embedding", COUNT_OR_NONE),
    "layer_features": Honoured("mapping_width", COUNT_OR_NONE),
    "activation": Honoured("mapping_activation", ACTIVATION),
    "lr_multiplier": Honoured("mapping_rate", NUMBER),
    "w_avg_beta": IN_TRAINING,
}
"""What becomes of the arguments of NVIDIA's `MappingNetwork`."""
SYNTHESIS: Table = {
    "w_dim": Honoured("w_dim", COUNT),
    "img_resolution": Honoured("resolution", COUNT),
    "img_channels": Only(3),
    "channel_base": Honoured("channel_base", COUNT),
    "channel_max": Honoured("channel_max", COUNT),
    "num_fp16_res": IN_FLOAT32,
    # Handed on to each block.
    "architecture": Only("skip"),
    "resample_filter": Honoured("taps", FOUR_TAPS),
    "conv_clamp": Honoured("clamp", CLAMP),
    "fp16_channels_last": IN_FLOAT32,
    "fused_modconv_default": AS_FAST,
    # Handed on to each layer.
    "kernel_size": Only(3),
    "use_noise": Honoured("noise", FLAG),
    "activation": Honoured("activation", ACTIVATION),
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
"""And of its `Generator`: in the code of StyleGAN2-ADA those of the synthesis are inside `synthesis_kwargs`."""


def _nvidia(state: Mapping[str, Tensor]) -> dict[str, Any]:
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
    seen = {
        "resolution": max(widths),
        "z_dim": inputs - embedding,
        "c_dim": c_dim,
        "w_dim": _shape(state, f"mapping.fc{layers - 1}.weight", 2)[0],
        "mapping_layers": layers,
    }
    told = agreeing(given(state, "", GENERATOR), given(state, "synthesis", SYNTHESIS), given(state, "mapping", MAPPING))
    noise = "synthesis.b4.conv1.noise_const" in state
    # A network without a condition has no embedding, and one of a single layer no width inside.
    inside = {"embedding": embedding} if c_dim else {}
    inside |= {"mapping_width": width} if layers > 1 else {}
    require_shapes(told, **seen, **inside, noise=noise)
    if "channel_base" in told or "channel_max" in told:
        asked = widths_of(max(widths), told.get("channel_base", CHANNEL_BASE), told.get("channel_max", CHANNEL_MAX))
        if asked != widths:
            raise MisfitError(
                f"its constructor's channel_base and channel_max ask for widths {list(asked.values())}, and its "
                f"tensors are of {list(widths.values())}; download the file again from where it was published"
            )
    options = {"taps": _taps(state), **clamp_of_layers(state), **told}
    taken = {name: options[name] for name in ("clamp", "activation", "taps") if name in options}
    return seen | {
        "widths": widths,
        "embedding": embedding,
        "mapping_width": width,
        "mapping_rate": told.get("mapping_rate", MAPPING_RATE),
        "mapping_activation": told.get("mapping_activation", "lrelu"),
        "options": stylegan2_nvidia.Options(**taken, noise=noise),
    }


def _taps(state: Mapping[str, Tensor]) -> tuple[float, ...]:
    """What the filters among the tensors are products of."""
    filter_ = state.get("synthesis.b4.resample_filter")
    return BINOMIAL if filter_ is None or filter_.is_meta or filter_.ndim != 2 else tuple(filter_.sum(1).tolist())


def _rosinality(state: Mapping[str, Tensor]) -> dict[str, Any]:
    sides = _doubled(1 + _count(state, r"to_rgbs\.\d+\.conv\.weight"))
    widths = {4: _shape(state, "input.input", 4)[1]}
    widths |= {side: _shape(state, f"convs.{2 * place + 1}.conv.weight", 5)[1] for place, side in enumerate(sides)}
    layers = _count(state, r"style\.\d+\.weight")
    w_dim = _shape(state, "style.1.weight", 2)[0]
    return {"resolution": max(widths), "widths": widths, "w_dim": w_dim, "mapping_layers": layers}


def _doubled(blocks: int) -> list[int]:
    """Sides of the grids of so many blocks, without the first."""
    return [4 << block for block in range(1, blocks)]


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    return sum(re.fullmatch(pattern, name) is not None for name in state)


def _shape(state: Mapping[str, Tensor], name: str, axes: int) -> tuple[int, ...]:
    return shape_of(state, name, axes, _ARCHITECTURE)

"""What the constructors of NVIDIA's networks take, and what becomes of each argument.

One table per class: each argument is honoured, or does not matter, or may only have one value. Any other is refused by
name. Tables are in the order of the signatures, as arguments may be given by position. An honoured argument has the
name of a field of our network's configuration.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Union

from rosetta.zoo.families.stylegan.modulation import ACTIVATIONS

_GREATEST = 1e9


@dataclass(frozen=True)
class Kind:
    """Values that an argument may have."""

    what: str
    """In words."""
    fits: Callable[[Any], bool]
    """Whether a value is one."""
    value: Callable[[Any], Any] = lambda value: value
    """What our networks take for it; None where it is the default."""


@dataclass(frozen=True)
class Honoured:
    """An argument that decides about the maps."""

    keyword: str
    """What our configuration calls it."""
    kind: Kind


@dataclass(frozen=True)
class Irrelevant:
    """One that does not."""

    why: str


@dataclass(frozen=True)
class Only:
    """One that has a single value in every network that is known here."""

    value: Any


Table = Mapping[str, Union[Honoured, Irrelevant, Only, "Table"]]
"""What becomes of each argument of a class; one of several inner ones has a table of its own."""


Signatures = Mapping[str, Table]
"""The tables of an architecture by the path of the module: of the generator (empty), `synthesis` and `mapping`."""


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < _GREATEST


COUNT = Kind("a whole number above 0", lambda value: type(value) is int and value > 0)
COUNT_OR_NONE = Kind("a whole number above 0 or None", lambda value: value is None or COUNT.fits(value))
FEW = Kind("a whole number from 1 to 16", lambda value: COUNT.fits(value) and value <= 16)
SIZE = Kind("a whole number from 0 on", lambda value: type(value) is int and value >= 0)
NUMBER = Kind("a number above 0", lambda value: _is_number(value) and value > 0)
FACTOR = Kind("a number", _is_number)
FLAG = Kind("True or False", lambda value: type(value) is bool)
CLAMP = Kind(
    "a number from 0 on or None",
    lambda value: value is None or (_is_number(value) and value >= 0),
    lambda value: math.inf if value is None else float(value),
)
ACTIVATION = Kind(f"one of {', '.join(ACTIVATIONS)}", lambda value: isinstance(value, str) and value in ACTIVATIONS)
FOUR_TAPS = Kind(
    "four numbers of a sum above 0",
    lambda value: isinstance(value, tuple) and len(value) == 4 and all(map(_is_number, value)) and sum(value) > 0,
)
IN_TRAINING = Irrelevant("used in training alone")
IN_FLOAT32 = Irrelevant("about half precision; all is float32 here")
AS_FAST = Irrelevant("about speed")
IN_FILE = Irrelevant("about values that are among the tensors")
FOLLOWS = Irrelevant("follows from the other arguments")

_LENGTHS: Table = {
    "z_dim": Honoured("z_dim", COUNT),
    "c_dim": Honoured("c_dim", SIZE),
    "w_dim": Honoured("w_dim", COUNT),
}
_IMAGES: Table = {"img_resolution": Honoured("resolution", COUNT), "img_channels": Only(3)}
_WIDTH = {"w_dim": _LENGTHS["w_dim"]}


def _signatures(mapping: Table, synthesis: Table) -> Signatures:
    """A generator hands on what it does not take; in the code of StyleGAN2-ADA it does so inside `synthesis_kwargs`."""
    inner = {"mapping_kwargs": mapping, "synthesis_kwargs": synthesis}
    return {"": {**_LENGTHS, **_IMAGES, **inner, **synthesis}, "synthesis": synthesis, "mapping": mapping}


STYLEGAN2 = _signatures(
    mapping={
        **_LENGTHS,
        "num_ws": FOLLOWS,
        "num_layers": Honoured("mapping_layers", COUNT),
        "embed_features": Honoured("embedding", COUNT_OR_NONE),
        "layer_features": Honoured("mapping_width", COUNT_OR_NONE),
        "activation": Honoured("mapping_activation", ACTIVATION),
        "lr_multiplier": Honoured("mapping_rate", NUMBER),
        "w_avg_beta": IN_TRAINING,
    },
    synthesis={
        **_WIDTH,
        **_IMAGES,
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
    },
)
STYLEGAN3 = _signatures(
    mapping={
        **_LENGTHS,
        "num_ws": FOLLOWS,
        "num_layers": Honoured("mapping_layers", COUNT),
        "lr_multiplier": Honoured("mapping_rate", NUMBER),
        "w_avg_beta": IN_TRAINING,
    },
    synthesis={
        **_WIDTH,
        **_IMAGES,
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
    },
)
STYLEGANXL = _signatures({**STYLEGAN3["mapping"], "rand_embedding": IN_FILE}, STYLEGAN3["synthesis"])
"""The generator is a stem."""
SUPERRES: Table = {
    "img_resolution": Honoured("resolution", COUNT),
    "path_stem": Irrelevant("names the file that the stem was taken from"),
    "head_layers": Honoured("head_layers", COUNT),
    "up_factor": Honoured("up_factor", FEW),
    **dict.fromkeys(
        (name for name in STYLEGAN3[""] if name != "img_resolution"),
        Irrelevant("taken and never used; the stem decides"),
    ),
}
"""Of StyleGAN-XL's `SuperresGenerator`, a stage that is put on."""

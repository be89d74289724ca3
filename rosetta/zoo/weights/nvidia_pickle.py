"""The networks in the pickles of StyleGAN2-ADA, StyleGAN3 and StyleGAN-XL, without the code in them.

Such a `.pkl` is a pickle of a dict with the entries `G`, `D` and `G_ema`. Each is a module that NVIDIA's
`torch_utils.persistence` wrote as a call of `_reconstruct_persistent_obj` with the source of the module's class and the
module's `__dict__`; to load one as it was meant is to execute that source. All that is wanted here lies in the
`__dict__`: `_parameters`, `_buffers`, `_modules`, and the arguments of the constructor, `_init_args` and
`_init_kwargs`. So the file is read as data (:mod:`rosetta.zoo.weights.pickle_as_data`), and the network put together
from what the calls would have been called with (:mod:`rosetta.zoo.weights.nvidia_modules`).
"""

import re
import zipfile
from collections.abc import Sequence
from functools import partial
from typing import Any

from rosetta.errors import UserError
from rosetta.zoo.weights.nvidia_modules import MODULE, PACKAGES, NetworkState, modules_of, networks_in, tensors_of
from rosetta.zoo.weights.pickle_as_data import ExcessError, Made, Meter, Rules, bytes_of, read
from rosetta.zoo.weights.refusals import printable, read_or_refused
from rosetta.zoo.weights.saved_tensors import MAGIC, PARAMETER, STORAGE, TENSORS, ZIP, Storage, read_legacy, read_zip

_IN_BAND = "torch.storage._load_from_bytes"
_AS_DATA = re.compile(
    r"collections\.OrderedDict|dnnlib(\.util)?\.EasyDict|(builtins|__builtin__)\.(set|frozenset|slice|complex|bytearray)"
    r"|numpy\.(dtype|ndarray|_?core\.(multiarray\.(scalar|_reconstruct)|numeric\._frombuffer))"
    r"|_codecs\.encode|functools\.partial"
    r"|torch\.(Size|device|bool|complex\d+|b?float\d+|u?int\d+)"
)
"""What occurs among the attributes of modules and in the options of a training. None of it is ever called."""
_MOST_INSTRUCTIONS = 1 << 21
"""A few seconds of work, and over twenty times what three networks of StyleGAN3 at 1024 px take, bytes included."""
_MOST_INFLATION = 4
"""Bytes of tensors for each byte of the file. Tied weights are stored once and given twice."""
_BLOCK = 4096


def parse_nvidia(content: bytes, text: str, keys: Sequence[str] = ("G_ema",)) -> NetworkState:
    """The state dict of one network in a pickle of NVIDIA's; nothing in the file runs.

    Parameters
    ----------
    content
        Of a file: a pickle as their training scripts write it, or the same handed to `torch.save`. The networks may be
        the entries of a dict, at the top or one below, the three of a tuple (G, D, G_ema), or a single one.
    text
        What errors call the file.
    keys
        The network's names there; the first that is there is taken.

    Returns
    -------
    NetworkState
        Parameters and persistent buffers by dotted name, in the order of `Module.state_dict()`, on the CPU, contiguous
        and sharing no memory; with what the file says of the modules.

    Raises
    ------
    UserError
        It is damaged, names code, asks for too much, or holds no such network.
    """
    meter = Meter(_MOST_INSTRUCTIONS)
    remedy = "convert the network to .safetensors where you trust the file"
    with read_or_refused(text, len(content), "no pickle of networks", remedy):
        networks = networks_in(_unpickled(content, meter), keys[0], meter)
        name = next((key for key in keys if key in networks), None)
        room = Meter(_MOST_INFLATION * len(content))
        if name is not None and (tensors := tensors_of(networks[name], room, meter)):
            return NetworkState(tensors, modules_of(networks[name], meter))
    if name is not None:
        raise UserError(f"weights {text!r} have no tensors in {printable(name)}; give the file of a trained network")
    found = ", ".join(map(printable, list(networks)[:8]))
    there = f"the networks there are {found}" if found else "it holds no network at all"
    raise UserError(f"weights {text!r} have no {' or '.join(map(printable, keys))} ({there}); give a file that has it")


def is_nvidia(content: bytes) -> bool:
    """Whether a `.pkl` is one for :func:`parse_nvidia`, and not just a state dict that `torch.save` wrote."""
    return b"_reconstruct_persistent_obj" in content or not (
        content.startswith(ZIP) or MAGIC.to_bytes(10, "little") in content[:16]
    )


# From bytes to records


def _unpickled(content: bytes, meter: Meter) -> Any:
    """What the file holds, every storage with its bytes."""
    rules = Rules(_known, partial(_called, meter=meter))
    if content.startswith(ZIP):
        return read_zip(content, rules, meter, partial(_admit, meter=meter))
    first, _ = read(content, 0, rules, meter)
    return read_legacy(content, rules, meter) if first == MAGIC else first


def _known(name: str) -> bool:
    return bool(
        name in (MODULE, _IN_BAND, PARAMETER, *TENSORS)
        or name.startswith(PACKAGES)
        or _AS_DATA.fullmatch(name)
        or STORAGE.fullmatch(name)
    )


def _called(name: str, arguments: tuple[Any, ...], meter: Meter) -> Any:
    if name != _IN_BAND:
        return Made(name, arguments)
    content = bytes_of(*arguments)
    meter.spend(len(content) // _BLOCK)
    storage = read_legacy(content, Rules(lambda name: bool(STORAGE.fullmatch(name))), meter)
    if not isinstance(storage, Storage):
        raise TypeError(type(storage))
    return storage


def _admit(entry: zipfile.ZipInfo, meter: Meter) -> None:
    """Raises where a part of a zip is compressed, which torch never does, or too much."""
    if entry.compress_type != zipfile.ZIP_STORED:
        raise ExcessError
    meter.spend(entry.file_size // _BLOCK)

"""Fit a state dict into a module: by name, or by position where the recipe says so."""

from collections.abc import Mapping
from itertools import zip_longest
from typing import Literal

from torch import Tensor, nn

from rosetta.errors import UserError


class MisfitError(UserError):
    """Tensors are of another network than they are said to be; the message says how that shows."""


COUNTER = "num_batches_tracked"
"""Buffer of batch norms that old releases did not save and that plays no part once trained."""


def load_state(
    module: nn.Module,
    state: Mapping[str, Tensor],
    match: Literal["name", "order"],
    weights: str,
    model: str,
    ordered: bool = True,
) -> None:
    """Copy tensors into a module, all of them or none.

    Parameters
    ----------
    module
        Takes the tensors.
    state
        Tensors by name.
    match
        `name`: every name and shape must agree, but batch counters may be missing. `order`: names are
        ignored; the count and every shape must agree, one after the other.
    weights, model
        What errors call the two.
    ordered
        Whether the order of `state` means anything, so that `order` is worth a hint.

    Raises
    ------
    UserError
        The two do not fit; the message shows the first difference.
    """
    wanted = {name: value for name, value in module.state_dict().items() if isinstance(value, Tensor)}
    difference = _by_position(wanted, state) if match == "order" else first_difference(wanted, state)
    if difference is not None:
        raise UserError(
            f"weights {weights!r} do not fit {model}: {difference}{_remedy(wanted, state, match == 'name' and ordered)}"
        )
    if match == "order":
        state = {name: state[other] for name, other in zip(*_aligned(wanted, state), strict=True)}
    module.load_state_dict({name: state[name] for name in wanted if name in state}, strict=False)


def misfit(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor], ordered: bool) -> str:
    """How an error shows that tensors are of another network: the first difference, how many fit, what to try."""
    names = [name for name in wanted if not name.endswith(COUNTER)]
    fit = sum(name in state and state[name].shape == wanted[name].shape for name in names)
    counted = f"; {fit} of {len(names)} tensors fit"
    return f"{first_difference(wanted, state)}{counted}{_remedy(wanted, state, ordered)}"


def _remedy(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor], try_order: bool) -> str:
    if try_order and _by_position(wanted, state) is None:
        return '; count and shapes agree in order, so match = "order" can load it by position'
    return "; is the file of another architecture?"


def first_difference(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str | None:
    """Between a module's tensors and those of a file by name, batch counters aside; None where there is none."""
    strangers = [name for name in state if name not in wanted]
    for name, tensor in wanted.items():
        if name in state:
            if state[name].shape != tensor.shape:
                return _difference(wanted, name, state, name)
        elif not name.endswith(COUNTER):
            return _difference(wanted, name, state, strangers[0] if strangers else None)
    return _difference(wanted, None, state, strangers[0]) if strangers else None


def _by_position(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str | None:
    names, given = _aligned(wanted, state)
    for place, (name, other) in enumerate(zip_longest(names, given), start=1):
        if name is None or other is None or wanted[name].shape != state[other].shape:
            return f"{_difference(wanted, name, state, other)} at tensor {place} of {len(names)}"
    return None


def _aligned(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> tuple[list[str], list[str]]:
    """The names of both sides, less the batch counters where only one side has them."""
    if len(wanted) == len(state):
        return list(wanted), list(state)
    mine, theirs = ([name for name in side if not name.endswith(COUNTER)] for side in (wanted, state))
    return mine, theirs


def _difference(wanted: Mapping[str, Tensor], mine: str | None, state: Mapping[str, Tensor], other: str | None) -> str:
    return f"first difference: the model has {_shown(mine, wanted)}, the file {_shown(other, state)}"


def _shown(name: str | None, tensors: Mapping[str, Tensor]) -> str:
    return "nothing more" if name is None else f"{name!r} {tuple(tensors[name].shape)}"

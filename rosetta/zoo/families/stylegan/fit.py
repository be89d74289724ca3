"""What the names and shapes of a state dict tell of a network of StyleGAN3's kind.

A guess is made from a few of them and then held against all.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rosetta.zoo.weights.statedict import MisfitError


@dataclass(frozen=True, order=True)
class FoundLayer:
    """A synthesis layer as the names of a state dict show it."""

    index: int
    """Its place."""
    size: int
    """Side of its grid."""
    channels: int
    """What it puts out."""

    @property
    def name(self) -> str:
        """Of its module."""
        return f"L{self.index}_{self.size}_{self.channels}"


def layers_in(state: Mapping[str, Tensor], architecture: str) -> list[FoundLayer]:
    """The synthesis layers of a state dict of StyleGAN3's kind, by index, to-RGB last.

    Raises
    ------
    MisfitError
        It is of another kind.
    """
    shape_of(state, "synthesis.input.freqs", 2, architecture)
    # So few digits that a name cannot ask for more layers than could ever be built.
    found = (re.fullmatch(r"synthesis\.L(\d{1,2})_(\d{1,5})_(\d{1,5})\.weight", name) for name in state)
    layers = sorted(FoundLayer(*map(int, match.groups())) for match in found if match)
    if len(layers) < 2:
        raise MisfitError(f"they are no {architecture} generator's: they have {len(layers)} synthesis layers")
    return layers


def shape_of(state: Mapping[str, Tensor], name: str, axes: int, architecture: str) -> tuple[int, ...]:
    """The shape of a tensor that the architecture has.

    Raises
    ------
    MisfitError
        There is none of so many axes.
    """
    if name not in state:
        held = next(map(repr, state), "nothing")
        raise MisfitError(f"they are no {architecture} generator's: {name!r} is missing, there is {held}")
    shape = tuple(state[name].shape)
    if len(shape) != axes:
        raise MisfitError(f"they are no {architecture} generator's: {name!r} is {shape}, not of {axes} axes")
    return shape


def mapping_layers(state: Mapping[str, Tensor]) -> int:
    """How many layers the mapping has."""
    return sum(re.fullmatch(r"mapping\.fc\d+\.weight", name) is not None for name in state)


def channel_base(layers: list[FoundLayer]) -> int:
    """The least that gives the last layer before to-RGB, whose cutoff is half the resolution, its width."""
    return layers[-2].channels * layers[-1].size


def compare(build: Callable[[], nn.Module], state: Mapping[str, Tensor], architecture: str) -> None:
    """Check names and shapes against a module, which is built without memory.

    Raises
    ------
    MisfitError
        They differ; the message shows the first difference.
    """
    try:
        with torch.device("meta"):
            wanted = {name: tuple(tensor.shape) for name, tensor in build().state_dict().items()}
    except (ValueError, ArithmeticError, RuntimeError) as error:  # the last is how torch refuses a size below 0
        raise MisfitError(f"they are of no {architecture} generator that exists: {error}") from None
    held = {name: tuple(tensor.shape) for name, tensor in state.items()}
    for name in (*wanted, *held):
        if wanted.get(name) != held.get(name):
            mine, theirs = (f"{side[name]}" if name in side else "nothing" for side in (wanted, held))
            raise MisfitError(
                f"they are no {architecture} generator's: {name!r} is {theirs} in the file and {mine} in "
                "the network that fits best"
            )

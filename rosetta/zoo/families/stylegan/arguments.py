"""What the constructors of NVIDIA's networks were called with, as a `.pkl` tells it beside the tensors.

A table a class: each argument that it takes is honoured, or does not matter, or may only have one value; any other is
refused by name. Tables are in the order of the signatures, as arguments may be given by place.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Union

from torch import Tensor, nn

from rosetta.zoo.families.stylegan.modulation import ACTIVATIONS
from rosetta.zoo.weights.nvidia_modules import NetworkState, Recorded
from rosetta.zoo.weights.statedict import MisfitError

_REMEDY = "build the network in a factory of your own, model = 'python:<module>:<factory>'"
_FILTER_TOLERANCE = 1e-3
"""Of a filter's largest tap; half precision rounds by half of that."""
_LONGEST = 60
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


@dataclass(frozen=True)
class Honoured:
    """An argument that decides about the maps."""

    keyword: str
    """What our network calls it."""
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

IN_TRAINING = Irrelevant("used in training alone")
IN_FLOAT32 = Irrelevant("about half precision; all is float32 here")
AS_FAST = Irrelevant("about speed")
IN_FILE = Irrelevant("about values that are among the tensors")
FOLLOWS = Irrelevant("follows from the other arguments")


class Told(dict[str, Any]):
    """Arguments by the keywords of our networks."""

    def __init__(self) -> None:
        super().__init__()
        self.names: dict[str, str] = {}
        """What NVIDIA's code calls each."""


def recorded(state: Mapping[str, Tensor], path: str) -> Recorded:
    """What is told of a module; nothing where the state dict is from a file that tells nothing."""
    return state.modules.get(path, Recorded()) if isinstance(state, NetworkState) else Recorded()


def given(state: Mapping[str, Tensor], path: str, table: Table) -> Told:
    """What a module's constructor was given; what was left out is left out.

    Raises
    ------
    MisfitError
        An argument that is not known, or a value that is not supported.
    """
    record = recorded(state, path)
    if len(record.positional) > len(table):
        raise MisfitError(f"its constructor{_of(path)} was called with too many arguments; {_REMEDY}")
    return _honoured(dict(zip(table, record.positional, strict=False)) | dict(record.named), table, path)


def agreeing(*found: Told) -> Told:
    """Arguments told in several places, once.

    Raises
    ------
    MisfitError
        Two places differ.
    """
    together = Told()
    for each in found:
        together.names = each.names | together.names
        for keyword, value in each.items():
            if not _same(together.setdefault(keyword, value), value):
                both = f"{_shown(together[keyword])} and {_shown(value)}"
                raise MisfitError(f"its constructors were given {each.names[keyword]} = {both}; {_REMEDY}")
    return together


def require_shapes(told: Told, **seen: Any) -> None:
    """Hold arguments against what shapes of tensors show.

    Raises
    ------
    MisfitError
        They differ.
    """
    for keyword, value in seen.items():
        if keyword in told and told[keyword] != value:
            raise MisfitError(
                f"its constructor was given {told.names[keyword]} = {_shown(told[keyword])}, and its tensors are of "
                f"{_shown(value)}; download the file again from where it was published"
            )


def clamp_of_layers(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """What its layers clamp at where no argument says it: the default has changed from release to release."""
    modules = state.modules.values() if isinstance(state, NetworkState) else ()
    found = (each.attributes["conv_clamp"] for each in modules if "conv_clamp" in each.attributes)
    values = [value for value in found if CLAMP.fits(value)]
    return {"clamp": CLAMP.value(values[0])} if values else {}


def require_settings(net: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Hold a network against what the file tells of its modules and against the filters among its tensors.

    A module of ours says in `settings` what attributes NVIDIA's module has that does the same.

    Raises
    ------
    MisfitError
        They differ, so that the maps would be others.
    """
    for path, module in net.named_modules():
        told = recorded(state, path).attributes
        settings: Mapping[str, Any] = getattr(module, "settings", {})
        for name, wanted in settings.items():
            if name in told and not _same(told[name], wanted):
                raise MisfitError(
                    f"{path!r} has {name} = {_shown(told[name])}, where {_shown(wanted)} follows from the arguments of "
                    f"its constructor; {_REMEDY}"
                )
    for name, tensor in net.state_dict().items():
        if name.endswith("_filter") and not near(state[name], tensor):
            if isinstance(state, NetworkState) and any(each.named for each in state.modules.values()):
                raise MisfitError(f"{name!r} is not a filter that its constructor's arguments ask for; {_REMEDY}")
            raise MisfitError(
                f"{name!r} is a filter of other settings than the published ones; "
                "give the .pkl that NVIDIA's code wrote, which has the settings"
            )


def near(found: Tensor, wanted: Tensor) -> bool:
    """Whether two filters are the same but for rounding; those without values may be anything."""
    if found.is_meta or wanted.is_meta:
        return found.shape == wanted.shape
    if found.shape != wanted.shape:
        return False
    return bool((found.float() - wanted).abs().max() <= _FILTER_TOLERANCE * wanted.abs().max())


def _honoured(arguments: Mapping[str, Any], table: Table, path: str, prefix: str = "") -> Told:
    found = Told()
    for name, value in arguments.items():
        rule = table.get(name)
        told = f"its constructor{_of(path)} was given {prefix}{_named(name)} = {_shown(value)}"
        if rule is None:
            raise MisfitError(f"{told}, an argument that is not known here; {_REMEDY}")
        if isinstance(rule, Mapping):
            if not isinstance(value, dict):
                raise MisfitError(f"{told}, which is not a table of arguments; {_REMEDY}")
            found = agreeing(found, _honoured(value, rule, path, f"{prefix}{name}."))
        elif isinstance(rule, Only) and not _same(value, rule.value):
            raise MisfitError(f"{told}, and only {_shown(rule.value)} is supported; {_REMEDY}")
        elif isinstance(rule, Honoured):
            if not rule.kind.fits(value):
                raise MisfitError(f"{told}, which is not {rule.kind.what}; {_REMEDY}")
            if (taken := rule.kind.value(value)) is not None:
                one = Told()
                one[rule.keyword], one.names[rule.keyword] = taken, prefix + name
                found = agreeing(found, one)
    return found


def _same(one: Any, other: Any) -> bool:
    """Whether two settings are equal but for rounding; no clamp is None or infinite."""
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    one, other = (math.inf if value is None else value for value in (one, other))
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=1e-6)
    return bool(one == other)


def _of(path: str) -> str:
    return f" of {path!r}" if path else ""


def _named(name: str) -> str:
    return name if name.isidentifier() and len(name) <= _LONGEST else _shown(name)


def _shown(value: Any) -> str:
    """A value out of a file, fit for a terminal."""
    text = "None" if value in (None, math.inf) else ascii(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"

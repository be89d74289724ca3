"""What the constructors of NVIDIA's networks were called with, as a `.pkl` records it beside the tensors."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from rosetta.zoo.families.stylegan.signatures import CLAMP, Honoured, Only, Signatures, Table
from rosetta.zoo.weights.nvidia_modules import NetworkState, Recorded
from rosetta.zoo.weights.statedict import MisfitError

_REMEDY = "build the network in a factory of your own, model = 'python:<module>:<factory>'"
_FILTER_TOLERANCE = 1e-3
"""Of a filter's largest tap; half precision rounds by half of that."""
_LONGEST = 60


class Arguments(dict[str, Any]):
    """Values by the fields of our configurations.

    Parameters
    ----------
    state
        Of a network; one out of another file than NVIDIA's records no arguments.
    signatures
        What may be given, and where.

    Raises
    ------
    MisfitError
        An argument that is not known, a value that is not supported, or two modules that differ.
    """

    def __init__(self, state: Mapping[str, Tensor], signatures: Signatures) -> None:
        super().__init__()
        self._names: dict[str, str] = {}  # what NVIDIA's code calls each
        for path, table in signatures.items():
            record = recorded(state, path)
            if len(record.positional) > len(table):
                raise MisfitError(f"its constructor{_of(path)} was called with too many arguments; {_REMEDY}")
            given = dict(zip(table, record.positional, strict=False)) | dict(record.named)
            for keyword, value, name in _honoured(given, table, path):
                if not _same(self.setdefault(keyword, value), value):
                    both = f"{_shown(self[keyword])} and {_shown(value)}"
                    raise MisfitError(f"its constructors were given {name} = {both}; {_REMEDY}")
                self._names.setdefault(keyword, name)

    def require(self, **shapes: Any) -> None:
        """Compare arguments with what shapes of tensors show.

        Raises
        ------
        MisfitError
            They differ.
        """
        for keyword, value in shapes.items():
            if keyword in self and self[keyword] != value:
                raise MisfitError(
                    f"its constructor was given {self._names[keyword]} = {_shown(self[keyword])}, and its tensors are "
                    f"of {_shown(value)}; download the file again from where it was published"
                )


def recorded(state: Mapping[str, Tensor], path: str) -> Recorded:
    """What a file says of a module; nothing where it records none."""
    return state.modules.get(path, Recorded()) if isinstance(state, NetworkState) else Recorded()


def clamp_of_layers(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """What its layers clamp at where no argument says it: the default has changed from release to release."""
    modules = state.modules.values() if isinstance(state, NetworkState) else ()
    found = (each.attributes["conv_clamp"] for each in modules if "conv_clamp" in each.attributes)
    values = [value for value in found if CLAMP.fits(value)]
    return {"clamp": CLAMP.value(values[0])} if values else {}


def require_settings(net: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Compare a network with what the file records of its modules, and with the filters among its tensors.

    A module of ours says in `settings` what attributes NVIDIA's module has that does the same.

    Raises
    ------
    MisfitError
        They differ, so that the maps would be others.
    """
    for path, module in net.named_modules():
        attributes = recorded(state, path).attributes
        settings: Mapping[str, Any] = getattr(module, "settings", {})
        for name, value in settings.items():
            if name in attributes and not _same(attributes[name], value):
                raise MisfitError(
                    f"{path!r} has {name} = {_shown(attributes[name])}, where {_shown(value)} follows from the "
                    f"arguments of its constructor; {_REMEDY}"
                )
    for name, tensor in net.state_dict().items():
        if name.endswith("_filter") and not near(state[name], tensor):
            if isinstance(state, NetworkState) and any(each.named for each in state.modules.values()):
                raise MisfitError(f"{name!r} is not a filter that its constructor's arguments ask for; {_REMEDY}")
            raise MisfitError(
                f"{name!r} is a filter of other settings than the published ones; "
                "give the .pkl that NVIDIA's code wrote, which has the settings"
            )


def near(one: Tensor, other: Tensor) -> bool:
    """Whether two filters are the same but for rounding; those without values may be anything."""
    if one.is_meta or other.is_meta or one.shape != other.shape:
        return one.shape == other.shape
    return bool((one.float() - other).abs().max() <= _FILTER_TOLERANCE * other.abs().max())


def _honoured(
    arguments: Mapping[str, Any], table: Table, path: str, prefix: str = ""
) -> Iterator[tuple[str, Any, str]]:
    """Keyword, value and NVIDIA's name of each argument that is honoured and has no default."""
    for name, value in arguments.items():
        rule = table.get(name)
        given = f"its constructor{_of(path)} was given {prefix}{_named(name)} = {_shown(value)}"
        if rule is None:
            raise MisfitError(f"{given}, an argument that is not known here; {_REMEDY}")
        if isinstance(rule, Mapping):
            if not isinstance(value, dict):
                raise MisfitError(f"{given}, which is not a table of arguments; {_REMEDY}")
            yield from _honoured(value, rule, path, f"{prefix}{name}.")
        elif isinstance(rule, Only) and not _same(value, rule.value):
            raise MisfitError(f"{given}, and only {_shown(rule.value)} is supported; {_REMEDY}")
        elif isinstance(rule, Honoured):
            if not rule.kind.fits(value):
                raise MisfitError(f"{given}, which is not {rule.kind.what}; {_REMEDY}")
            if (taken := rule.kind.value(value)) is not None:
                yield rule.keyword, taken, prefix + name


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

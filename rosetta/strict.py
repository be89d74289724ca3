"""Plain data into settings, strictly: what is wrong is told by its key, in one line."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from rosetta.errors import UserError, nearest


class Strict(BaseModel):
    """Settings that take no key they do not know, and never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


S = TypeVar("S", bound=Strict)


def validated(kind: type[S], data: Mapping[str, Any], origin: str) -> S:
    """Settings from plain data; `origin` is what an error calls them.

    Raises
    ------
    UserError
        The first thing wrong, by its dotted key.
    """
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise UserError(f"{origin}: {explain(error, data, kind)}") from None


def explain(error: ValidationError, data: Mapping[str, Any], kind: type[Strict] = Strict) -> str:
    """The first thing wrong with some data, in one line."""
    first = error.errors(include_url=False)[0]
    location = first["loc"]
    key = ".".join(_readable(location, data, kind))
    if first["type"] == "extra_forbidden":
        return f"unknown key {key!r}{nearest(str(location[-1]), _known_keys(location, kind))}"
    # Values are shown as lists: a recipe has them, settings keep tuples.
    if first["type"] == "missing" and isinstance(location[-1], int):
        return f"{key.rpartition('.')[0]}: {list(first['input'])} has too few values"
    if first["type"] == "missing":
        return f"{key!r} is missing"
    if first["type"] == "too_long":
        return f"{key}: {list(first['input'])} has more than {first['ctx']['max_length']} values"
    if first["type"] == "tuple_type":
        return f"{key}: {first['input']!r} is not a list"
    if first["type"] == "value_error":
        return f"{first['ctx']['error']}" if not location else f"{key}: {first['ctx']['error']}"
    given = first.get("input")
    shown = f" (it is {given!r})" if isinstance(given, str | int | float | bool) else ""
    return f"{key or f'the {kind.__name__.lower()}'}: {first['msg'][0].lower()}{first['msg'][1:]}{shown}"


def _readable(location: tuple[int | str, ...], data: Mapping[str, Any], kind: type[Strict]) -> list[str]:
    """`models.2.layers` as `models.lite0.layers` where that entry has a name; a field by its alias."""
    parts = [str(part) for part in location]
    if parts and (field := kind.model_fields.get(parts[0])) is not None:
        parts[0] = field.serialization_alias or parts[0]
    if len(location) > 1 and isinstance(location[1], int):
        entries = data.get(str(location[0]))
        entry = entries[location[1]] if isinstance(entries, list | tuple) else None
        if isinstance(entry, Mapping) and isinstance(entry.get("name"), str):
            parts[1] = entry["name"]
    return parts


def _known_keys(location: tuple[int | str, ...], kind: type[Strict]) -> list[str]:
    """The keys of the table that a key lies in."""
    table: Any = kind
    for part in location[:-1]:
        if isinstance(part, str) and part in table.model_fields:
            table = _table(table.model_fields[part].annotation) or table
    return [field.serialization_alias or name for name, field in table.model_fields.items()]


def _table(annotation: Any) -> type[Strict] | None:
    """The settings inside a field's type: of `Images`, or of each entry of `tuple[ModelSpec, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, Strict):
        return annotation
    return next((found for part in getattr(annotation, "__args__", ()) if (found := _table(part))), None)

"""Fingerprints: what an artifact depends on, and whether the one on disk matches."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any

from rosetta.errors import UserError

FORMAT = 3
"""Version of the layout of artifacts; part of every fingerprint."""


@dataclass(frozen=True)
class Fingerprint:
    """All that an artifact depends on, as plain data, and its SHA-256."""

    depends: Mapping[str, Any]
    made_with: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Versions of the code that makes the artifact. They are no part of the digest. They are stored, and named in the
    error where their results have changed."""

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 of the canonical JSON of what the artifact depends on."""
        canonical = json.dumps(self.depends, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(canonical.encode()).hexdigest()

    def in_format(self, version: int) -> "Fingerprint":
        """The same of another version of the layout."""
        return replace(self, depends={**self.depends, "format": version})

    def attributes(self) -> dict[str, Any]:
        """The attributes that an artifact stores of it."""
        beside = {"made_with": dict(self.made_with)} if self.made_with else {}
        return {"fingerprint": self.digest, "depends": _plain(self.depends), **beside}

    def require_match(self, artifact: str, found: Mapping[str, Any]) -> None:
        """Compare with the attributes of the artifact on disk.

        Raises
        ------
        UserError
            It was made from something else: says what, with both values, and the option that replaces it.
        """
        if found.get("fingerprint") == self.digest:
            return
        difference = first_difference(depends_of(found), self.depends)
        if MAPS in difference or IMAGE in difference:
            versions = _differences(found.get("made_with", {}), _plain(self.made_with), "")
            difference = "; ".join(
                [difference, *(f"{path[1:]} {_sides(*sides)}".replace('"', "") for path, *sides in versions)]
            )
        raise UserError(
            f"{artifact} was made from something else ({difference}); give --replace to rebuild it, or another --root"
        )


def fingerprint(stage: str, made_with: Mapping[str, str] | None = None, **depends: Any) -> Fingerprint:
    """The fingerprint of a stage's artifact."""
    return Fingerprint({"stage": stage, "format": FORMAT, **depends}, made_with or {})


def depends_of(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """What an artifact on disk depends on, by its attributes.

    Old activation stores keep a model's layers and preprocessing as attributes only; they are taken from there.
    """
    found = attributes.get("depends")
    depends = dict(found) if isinstance(found, Mapping) else {}
    model = depends.get("model")
    if isinstance(model, Mapping) and "units" not in model and "layers" in attributes:
        beside = {"preprocessing": attributes.get("preprocessing"), "units": attributes["layers"]}
        depends["model"] = {**model, **beside}
    return depends


def format_of(attributes: Mapping[str, Any]) -> int:
    """The version of the layout that an artifact on disk was made in, by its attributes; this one where they do not
    say."""
    version = depends_of(attributes).get("format")
    return version if isinstance(version, int) else FORMAT


def require_known_format(attributes: Mapping[str, Any], artifact: str) -> None:
    """
    Raises
    ------
    UserError
        An artifact with these attributes was written by a newer version of this project.
    """
    require_known(format_of(attributes), artifact)


def require_known(version: object, what: str) -> None:
    """
    Raises
    ------
    UserError
        A version of the layout is newer than this one.
    """
    if isinstance(version, int) and version > FORMAT:
        raise UserError(
            f"{what} was written by a newer rosetta (format {version}; this one reads up to {FORMAT}); upgrade it"
        )


MAPS, IMAGE = "maps of a test image", "image of a test latent"
"""Keys of the measurements of :mod:`rosetta.zoo.behaviour`: by layer, and of a generator. The blanks keep them apart
from every name in a recipe."""
_MISSING = object()
_LENGTH = 60
"""Characters of one side of a difference."""


def first_difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """The first difference between two mappings of plain data, as `key.key[index]: old → new`.

    Empty where the JSON of both is the same. Both sides are short, and never look the same.
    """
    for path, before, after in _differences(_plain(old), _plain(new), ""):
        name = path.removeprefix(".")
        if _is_measured(path) and _MISSING not in (before, after):
            return f"{name} differ{_in_layers(before, after)}"
        return f"{name}: {_sides(before, after)}"
    return ""


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """All differences between two mappings of plain data: `key.key`, and both values as short text."""
    found = _differences(_plain(old), _plain(new), "")
    return [(path.removeprefix("."), *_side_texts(before, after)) for path, before, after in found]


def _differences(before: Any, after: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Path and both values of whatever differs: keys of mappings, and elements of lists too long to be shown."""
    if _text(before) == _text(after):
        return
    if _is_measured(path):
        yield path, before, after
    elif isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys([*before, *after]):
            yield from _differences(before.get(key, _MISSING), after.get(key, _MISSING), f"{path}.{key}")
    elif isinstance(before, list) and isinstance(after, list) and max(len(_text(before)), len(_text(after))) > _LENGTH:
        for index, pair in enumerate(zip_longest(before, after, fillvalue=_MISSING)):
            yield from _differences(*pair, f"{path}[{index}]")
    else:
        yield path, before, after


def _is_measured(path: str) -> bool:
    return path.endswith((f".{MAPS}", f".{IMAGE}"))


def _in_layers(before: Any, after: Any) -> str:
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return "s"
    layers = [key for key in dict.fromkeys([*before, *after]) if before.get(key) != after.get(key)]
    more = f" and {len(layers) - 2} more" if len(layers) > 2 else ""
    return f": {', '.join(layers[:2])}{more}"


def _sides(before: Any, after: Any) -> str:
    """`before → after`."""
    return " → ".join(_side_texts(before, after))


def _side_texts(before: Any, after: Any) -> tuple[str, str]:
    """Both values; of long ones the part where they begin to differ."""
    texts = _text(before), _text(after)
    if max(map(len, texts)) > _LENGTH:
        same = next((index for index, (one, other) in enumerate(zip(*texts, strict=False)) if one != other), 0)
        start = max(0, (same or min(map(len, texts))) - _LENGTH // 3)
        texts = _part(texts[0], start), _part(texts[1], start)
    return texts


def _part(text: str, start: int) -> str:
    stop = start + _LENGTH - 2
    return f"{'…' * (start > 0)}{text[start:stop]}{'…' * (len(text) > stop)}"


def _text(value: Any) -> str:
    """Canonical JSON, but words for absent values."""
    if value is _MISSING:
        return "not given"
    return "nothing" if value is None else json.dumps(value, sort_keys=True)


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))

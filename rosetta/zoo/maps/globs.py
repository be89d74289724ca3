"""Globs over module paths, such as `blocks.*.mlp.act`."""

import re
from collections.abc import Iterable, Sequence

from rosetta.errors import UserError, nearest

_TOKEN = re.compile(r"(?P<deep>\*\*\.?)|(?P<star>\*)|(?P<one>\?)|\[(?P<invert>!?)(?P<set>[^\]]+)\]")


def compile_glob(glob: str) -> re.Pattern[str]:
    """A regular expression for a whole module path.

    `*` and `?` stay inside one dotted segment, `**` crosses segments, `[ab]`, `[a-c]` and `[!a]` are sets.
    """
    pattern, end = "", 0
    for token in _TOKEN.finditer(glob):
        pattern += re.escape(glob[end : token.start()])
        end = token.end()
        if deep := token["deep"]:
            # `**.act` is an `act` at any depth, the top included.
            pattern += r"(?:.*\.)?" if deep.endswith(".") else ".*"
        elif token["star"]:
            pattern += r"[^.]*"
        elif token["one"]:
            pattern += r"[^.]"
        else:
            inside = re.sub(r"([\\\[\]^&~|])", r"\\\1", token["set"])
            pattern += f"(?!\\.)[{'^' if token['invert'] else ''}{inside}]"
    pattern += re.escape(glob[end:])
    try:
        return re.compile(pattern)
    except re.error:  # a set such as [z-a]
        return re.compile(re.escape(glob))


def matches(globs: Iterable[str], paths: Iterable[str]) -> list[str]:
    """Those of the paths that any glob matches, in the order of the paths."""
    patterns = [compile_glob(glob) for glob in globs]
    return [path for path in paths if any(pattern.fullmatch(path) for pattern in patterns)]


def select(globs: Sequence[str], paths: Sequence[str], model: str) -> list[str]:
    """As :func:`matches`, but every glob must match something.

    Raises
    ------
    UserError
        A glob matches none of the paths; the message lists the nearest.
    """
    if not globs:
        raise UserError(f"model {model!r}: layers is empty; leave it out for the default layers")
    for glob in globs:
        if not matches([glob], paths):
            # Few paths look like a deep glob; the top of the tree at least shows where to begin.
            top = ", ".join([path for path in paths if "." not in path][:6])
            hint = nearest(glob, paths) or f"; its modules begin with {top or 'nothing'}"
            raise UserError(f"model {model!r}: no module matches the layer {glob!r}{hint}")
    return matches(globs, paths)

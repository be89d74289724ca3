"""A pickle read as data.

Python's own unpickler imports what a file names and calls it, so whoever wrote the file decides what runs. The machine
here follows the same instructions, but a name stays a name and a call becomes a record of what was to be called with
what. There is no instruction by which a file could reach a function, a class or an attribute.

A file can also ask for more than it is worth: one byte makes an empty dict of 64, and a memo lets a few bytes stand for
many values. Hence each instruction is paid for out of a :class:`Meter`, and only short plain values become keys, as the
hash of nested tuples takes time exponential in their depth.
"""

import io
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_LONGEST_NAME = 200
_LONGEST_KEY = 1024
_GREATEST_KEY = 1 << 64

_VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
}
"""Instructions whose argument is the value."""
_BYTES = {"SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, Callable[[], Any]] = {
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
}


class RefusedError(Exception):
    """A pickle names something that its reader does not know; the text is that name."""


class ExcessError(Exception):
    """A pickle asks for more work or memory than its reader grants."""


@dataclass
class Meter:
    """What a file may still ask for."""

    left: int
    """Instructions, or whatever else is counted."""

    def spend(self, amount: int = 1) -> None:
        """Take some of what is left.

        Raises
        ------
        ExcessError
            There is not so much.
        """
        self.left -= amount
        if self.left < 0:
            raise ExcessError


@dataclass(frozen=True)
class Global:
    """What would be imported."""

    name: str
    """Module and qualified name, joined by a dot."""


@dataclass(slots=True, eq=False)
class Made:
    """What a call would have returned."""

    maker: str
    """Name of the function or class."""
    arguments: tuple[Any, ...]
    """It was to be called with."""
    state: Any = None
    """It was to be given afterwards."""
    items: list[Any] | None = None
    """Appended to it."""
    pairs: dict[Any, Any] | None = None
    """Set in it by key."""


@dataclass(frozen=True)
class Rules:
    """What a pickle may name, and what becomes of it."""

    known: Callable[[str], bool]
    """Whether a name may occur."""
    call: Callable[[str, tuple[Any, ...]], Any] = Made
    """Stands for the call of a known name."""
    stored: Callable[[Any], Any] | None = None
    """Stands for a persistent id, a value kept outside the pickle; None where there can be none."""


def read(content: bytes | memoryview, at: int, rules: Rules, meter: Meter) -> tuple[Any, int]:
    """One pickle, from its first instruction to its stop.

    Parameters
    ----------
    content
        Bytes with the pickle in them.
    at
        Where it begins.
    rules
        What it may name.
    meter
        Pays for its instructions.

    Returns
    -------
    value
        Numbers, texts, lists, tuples, dicts and sets as such, :class:`Global`, :class:`Made`, or what the rules give;
        bytes as views of `content`.
    end
        Where the next pickle would begin.

    Raises
    ------
    RefusedError
        A name that the rules do not know.
    ExcessError
        The meter ran out.
    Exception
        Of any other kind: damaged, truncated, no pickle.
    """
    view, stream = memoryview(content), io.BytesIO(content)
    stream.seek(at)
    machine = _Machine(rules)
    argument: Any
    for operation, argument, _ in pickletools.genops(stream):
        meter.spend()
        if operation.name in _BYTES:
            end = stream.tell()
            argument = view[end - len(argument) : end]  # most of a checkpoint; not to be held twice
        machine.step(operation.name, argument)
    return machine.stack.pop(), stream.tell()


class _Machine:
    """The stack, the marks in it, and the memo."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        """Follow one instruction."""
        stack = self.stack
        if name in _VALUES or name in _BYTES:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        else:
            self._build(name, argument, stack)

    def _build(self, name: str, argument: Any, stack: list[Any]) -> None:
        match name:
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(self.memo[argument])
            case "MARK":
                self.below.append(stack)
                self.stack = []
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(name[-1])
                if len(stack) < count:
                    raise IndexError(name)
                stack[-count:] = [tuple(stack[-count:])]
            case "TUPLE":
                self._push(tuple(self._marked()))
            case "LIST":
                self._push(self._marked())
            case "DICT":
                self._push(_pairs(self._marked()))
            case "FROZENSET":
                self._push(set(filter(_plain, self._marked())))
            case "APPEND":
                _extend(stack[-2], [stack.pop()])
            case "APPENDS":
                items = self._marked()
                _extend(self.stack[-1], items)
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                _update(stack[-1], [key, value])
            case "SETITEMS":
                items = self._marked()
                _update(self.stack[-1], items)
            case "ADDITEMS":
                items = self._marked()
                self.stack[-1].update(filter(_plain, items))
            case "GLOBAL":
                stack.append(self._named(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                last, module = stack.pop(), stack.pop()
                stack.append(self._named(module, last))
            case "REDUCE" | "NEWOBJ":
                arguments, maker = stack.pop(), stack.pop()
                stack.append(self._call(maker, arguments))
            case "NEWOBJ_EX":
                _, arguments, maker = stack.pop(), stack.pop(), stack.pop()
                stack.append(self._call(maker, arguments))
            case "INST":
                self._push(self._call(self._named(*argument.split(" ", 1)), tuple(self._marked())))
            case "OBJ":
                maker, *arguments = self._marked()
                self._push(self._call(maker, tuple(arguments)))
            case "BUILD":
                state = stack.pop()
                if isinstance(stack[-1], Global):
                    raise RefusedError(f"a change of {stack[-1].name}")
                if not isinstance(stack[-1], Made):
                    raise TypeError(type(stack[-1]))
                stack[-1].state = state
            case "PERSID" | "BINPERSID":
                if self.rules.stored is None:
                    raise RefusedError("a persistent id")
                stack.append(self.rules.stored(argument if name == "PERSID" else stack.pop()))
            case "EXT1" | "EXT2" | "EXT4":
                raise RefusedError(f"copyreg extension {argument}")
            case "DUP":
                stack.append(stack[-1])
            case "POP" if stack:
                stack.pop()
            case "POP" | "POP_MARK":
                self._marked()
            case "PROTO" | "FRAME" | "STOP":
                pass
            case _:
                raise ValueError(name)

    def _push(self, value: Any) -> None:
        self.stack.append(value)

    def _marked(self) -> list[Any]:
        """Everything above the last mark, which goes too."""
        items, self.stack = self.stack, self.below.pop()
        return items

    def _named(self, module: str, last: str) -> Global:
        name = f"{module[:_LONGEST_NAME]}.{last[:_LONGEST_NAME]}"
        if len(name) > _LONGEST_NAME or not self.rules.known(name):
            raise RefusedError(name)
        return Global(name)

    def _call(self, maker: Any, arguments: Any) -> Any:
        if isinstance(maker, Made) and isinstance(arguments, tuple):  # a method, which getattr was to find
            return Made(f"{maker.maker}()", arguments)
        if not (isinstance(maker, Global) and isinstance(arguments, tuple)):
            raise TypeError(type(maker))
        return self.rules.call(maker.name, arguments)


def bytes_of(value: Any) -> Any:
    """Bytes as they are, or as pickles for Python 2 write them: text that is to be encoded."""
    if isinstance(value, Made) and value.maker == "_codecs.encode":
        return value.arguments[0].encode("latin1")
    return value


def _plain(key: Any) -> bool:
    """Whether a value may be a key: its hash and comparison take no time."""
    if isinstance(key, str):
        return len(key) <= _LONGEST_KEY
    if isinstance(key, int):
        return -_GREATEST_KEY < key < _GREATEST_KEY
    return key is None or isinstance(key, float)


def _pairs(items: list[Any]) -> dict[Any, Any]:
    """A dict of keys and values by turns, less the keys that no name could be."""
    return {key: value for key, value in zip(items[::2], items[1::2], strict=True) if _plain(key)}


def _extend(target: Any, items: list[Any]) -> None:
    if isinstance(target, Made):
        target.items = target.items or []
        target = target.items
    target.extend(items)


def _update(target: Any, items: list[Any]) -> None:
    if isinstance(target, Made):
        target.pairs = target.pairs or {}
        target = target.pairs
    target.update(_pairs(items))

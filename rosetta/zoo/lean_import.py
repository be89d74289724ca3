"""Keeps torch's compiler out of a process that never compiles.

torchvision and timm import the compiler, with sympy and triton, for a few decorators and for one function that only RoI
align calls. It takes more than a second and 100 MiB, nearly as much as torch itself.
"""

import functools
import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch

try:
    from torch._compile import _disable_dynamo
except ImportError:  # a later torch; the compiler is imported then as usual
    _disable_dynamo = None  # type: ignore[assignment]

_HELPERS = "torch._dynamo.utils"


@contextmanager
def without_compiler() -> Iterator[None]:
    """What is imported here does not import the compiler before it calls what needs it.

    Not for imports on several threads at once.
    """
    if _HELPERS in sys.modules or _disable_dynamo is None:
        yield
        return
    stand_in, disable = _Helpers(_HELPERS), torch.compiler.disable
    sys.modules[_HELPERS] = stand_in
    torch.compiler.disable = _disable
    try:
        yield
    finally:
        torch.compiler.disable = disable
        if sys.modules.get(_HELPERS) is stand_in:
            del sys.modules[_HELPERS]


def _disable(fn: Callable[..., Any] | None = None, recursive: bool = True, *, reason: str | None = None) -> Any:
    """:func:`torch.compiler.disable`, which imports the compiler when the decorated function is called.

    torch does the same for its own functions.
    """
    return functools.partial(_disable, recursive=recursive) if fn is None else _disable_dynamo(fn, recursive)


class _Helpers(ModuleType):
    """The compiler's helpers: one that imports them when it is called, and any other at once."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _is_compile_supported if name == "is_compile_supported" else getattr(_helpers(), name)


def _is_compile_supported(device_type: Any) -> Any:
    """As the compiler's own."""
    return _helpers().is_compile_supported(device_type)


def _helpers() -> Any:
    if isinstance(sys.modules.get(_HELPERS), _Helpers):
        del sys.modules[_HELPERS]
    return importlib.import_module(_HELPERS)

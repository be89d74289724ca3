"""Answers about models of the zoo that are kept: a library defines them, so they are the same all the time."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Concatenate, ParamSpec, TypeVar

from rosetta.model_spec import ModelSpec
from rosetta.zoo.registry import find

P = ParamSpec("P")
T = TypeVar("T")


def kept_of_listed(answer: Callable[Concatenate[ModelSpec, P], T]) -> Callable[Concatenate[ModelSpec, P], T]:
    """Keep what a function says of a model, where its family lists the model by name.

    What stands in a file, in a folder or in a user's own code may change between two calls, and is asked for each time.
    Errors are not kept.
    """
    kept = lru_cache(maxsize=256)(answer)

    @wraps(answer)
    def ask(spec: ModelSpec, *args: P.args, **kwargs: P.kwargs) -> T:
        asked: Callable[Concatenate[ModelSpec, P], T] = kept if _is_listed(spec) else answer  # type: ignore[assignment]
        return asked(spec, *args, **kwargs)

    return ask


def _is_listed(spec: ModelSpec) -> bool:
    family, name = find(spec.model)
    return not spec.sae and bool({name, name.partition(".")[0]} & set(family.names()))

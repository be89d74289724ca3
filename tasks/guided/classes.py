"""The classes of the images that a search is about, where the generator is conditional."""

import numpy as np
import numpy.typing as npt
import torch

from rosetta.errors import UserError
from rosetta.zoo.model import Model

Classes = npt.NDArray[np.int64]
"""(image,)"""


def class_tensor(classes: Classes | None) -> torch.Tensor | None:
    """(image,) classes as a generator takes them."""
    return None if classes is None else torch.from_numpy(classes)


def class_of(generator: Model, what: str, given: int | None) -> int | None:
    """The class of what does not say it itself; None where the generator has no classes.

    Parameters
    ----------
    what
        What an error calls it.
    given
        By the user; left out, it is the only class that the recipe names.

    Raises
    ------
    UserError
        The recipe names no class, or several.
    """
    if generator.classes is None or given is not None:
        return given
    named = set(generator.spec.condition.classes or ())
    if len(named) != 1:
        raise UserError(
            f"{what}: the generator {generator.spec.name!r} makes images of {generator.classes} classes; "
            "say which with --class"
        )
    return named.pop()


def require_class(generator: Model, given: int | None) -> None:
    """
    Raises
    ------
    UserError
        The generator has no such class.
    """
    if given is None:
        return
    name = generator.spec.name
    if generator.classes is None:
        raise UserError(f"--class {given}: the generator {name!r} knows no classes; leave it out")
    if given >= generator.classes:
        raise UserError(f"--class {given}: the classes of the generator {name!r} are 0 to {generator.classes - 1}")

"""Small things that several plots need."""

import numpy as np
import numpy.typing as npt
from matplotlib import rcParams

_LONGEST = 30
"""Characters of a name that a plot has room for."""


def short(name: str, longest: int = _LONGEST) -> str:
    """One line of at most `longest` characters and an ellipsis, cut in the middle: the ends of a path tell most."""
    line = " ".join(name.split())
    if len(line) <= longest:
        return line
    return f"{line[: longest // 3]}…{line[-(2 * longest // 3) :]}"


def literal(name: str, longest: int = _LONGEST) -> str:
    """The same as matplotlib shows it: a name that holds dollar signs is no formula."""
    line = short(name, longest)
    return line.replace("$", r"\$") if rcParams["text.parse_math"] else line


def finite(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """(n,) what of the values is a number: a dead unit has no correlation."""
    flat = np.asarray(values, dtype=np.float64).ravel()
    return flat[np.isfinite(flat)]

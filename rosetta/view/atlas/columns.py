"""Tables as columns of JSON values."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from rosetta.view.atlas.script import numbers

DIGITS = 7
"""Significant digits of the tables' numbers: all that a float32 always keeps."""


def columns(table: Mapping[str, npt.NDArray[Any]]) -> dict[str, list[Any]]:
    """Every column as a list: numbers, booleans and text; None for what is not a number.

    Parameters
    ----------
    table
        Column → (row,) its values; numbers, booleans or text.
    """
    return {
        name: numbers(values, DIGITS) if np.asarray(values).dtype.kind in "iubf" else [str(value) for value in values]
        for name, values in table.items()
    }

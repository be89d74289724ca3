"""Data as scripts: JSON that may stand in a script and in a page, whatever its strings hold."""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

DIGITS = 7
"""Significant digits of the tables' numbers: all that a float32 always keeps."""
_SMALLEST, _LARGEST = 1e-9, 1e15
"""Between them numbers are rounded as arrays."""
_ESCAPED = str.maketrans({letter: f"\\u{ord(letter):04x}" for letter in "<>&"})


def json_text(value: Any) -> str:
    """JSON in ASCII, without blanks.

    Outside of strings JSON has none of ``<``, ``>`` and ``&``, and in strings they are escaped: no text can close the
    script that it stands in. All beyond ASCII is escaped too, U+2028 and U+2029 with it, so that no one needs to know
    the encoding of a file that is opened from disk.

    Raises
    ------
    ValueError
        A number is not finite; see :func:`numbers`.
    """
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":")).translate(_ESCAPED)


def put(key: str, value: Any) -> bytes:
    """The script that hands the page a value: the whole content of ``data/<key>.js``."""
    return f"atlas.put({json_text(key)},{json_text(value)});\n".encode("ascii")


def number(value: float, digits: int = 4) -> float | None:
    """A number with so many significant digits; None where it is not finite."""
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None


def numbers(values: npt.NDArray[Any], digits: int = 4) -> list[Any]:
    """An array as nested lists: integers and booleans as they are, all others as :func:`number` has them."""
    if values.dtype.kind in "iub":
        return list(values.tolist())
    exact = values.astype(np.float64)
    size = np.abs(exact)
    finite = np.isfinite(exact)
    # A whole number over a power of ten is the double nearest to the decimal that is meant, as long as both are exact:
    # it prints with no more digits than it has. What is beyond that range is put into words and read again.
    plain = finite & (size >= _SMALLEST) & (size < _LARGEST)
    places = np.floor(np.log10(size, where=plain, out=np.zeros_like(exact))) - (digits - 1)
    up, down = 10.0 ** np.maximum(-places, 0), 10.0 ** np.maximum(places, 0)
    rounded = np.where(plain, np.rint(np.where(plain, exact, 0.0) * up / down) * down / up, exact)
    odd = ~plain & (size != 0.0)
    if not odd.any():
        return list(rounded.tolist())
    listed = rounded.astype(object)
    listed[odd] = [number(value, digits) for value in exact[odd].tolist()]
    return list(listed.tolist())


def columns(table: Mapping[str, npt.NDArray[Any]]) -> dict[str, list[Any]]:
    """Every column of a table as a list: numbers, booleans and text; None for what is not a number.

    Parameters
    ----------
    table
        Column → (row,) its values; numbers, booleans or text.
    """
    return {
        name: numbers(values, DIGITS) if np.asarray(values).dtype.kind in "iubf" else [str(value) for value in values]
        for name, values in table.items()
    }

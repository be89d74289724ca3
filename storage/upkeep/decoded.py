"""SHA-256 of decoded values: the same however they are compressed, cut into chunks or narrowed on the disk."""

from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd


class Decoded:
    """The digest of values that come piece by piece.

    Numbers count as little-endian bytes in C order, float16 as float32 and whole numbers as 64 bits; text counts as
    UTF-8 with its length before it.
    """

    def __init__(self) -> None:
        self._digest = sha256()

    def add(self, values: npt.NDArray[Any]) -> None:
        """Add a piece."""
        self._digest.update(repr(values.shape).encode())
        if values.dtype.kind in "OUT":
            for text in values.ravel().tolist():
                content = str(text).encode()
                self._digest.update(len(content).to_bytes(8, "little") + content)
            return
        wide = {"e": "<f4", "i": "<i8"}.get(values.dtype.char if values.dtype.kind == "f" else values.dtype.kind)
        self._digest.update(np.ascontiguousarray(values, wide or values.dtype.newbyteorder("<")).tobytes())

    @property
    def hexadecimal(self) -> str:
        """Of all so far."""
        return self._digest.hexdigest()


def decoded_columns(frame: pd.DataFrame) -> dict[str, str]:
    """By column of a table: the digest of its values."""
    digests = {}
    for name in frame.columns:
        digest = Decoded()
        digest.add(frame[name].to_numpy())
        digests[str(name)] = digest.hexadecimal
    return digests

"""Frames as the catalogue describes a table, from the columns that a test is about."""

import numpy as np
import pandas as pd

from storage.artifacts.catalogue import columns_at

_NOTHING = {"category": "", "str": "", "bool": False}


def described(path: str, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows with all columns of the table at `path`, in order and of their types.

    Columns that the frame lacks are filled: NaN, 0, False, or an empty text.
    """
    columns = {column.name: column.dtype for column in columns_at(path)}
    assert set(frame) <= set(columns), set(frame) - set(columns)
    fill = {name: _NOTHING.get(dtype, np.nan if "float" in dtype else 0) for name, dtype in columns.items()}
    types = {name: "str" if dtype == "category" else dtype for name, dtype in columns.items()}
    return frame.assign(**{name: fill[name] for name in columns if name not in frame})[list(columns)].astype(types)

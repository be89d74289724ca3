"""Rows with the names and types that the catalogue gives the columns of their table."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from storage.artifacts.columns import Columns


def typed(rows: pd.DataFrame | Sequence[Mapping[str, Any]], columns: Columns) -> pd.DataFrame:
    """Rows as a table has them, of which there may be none.

    Parameters
    ----------
    rows
        With all of the columns, in any order and type.
    """
    frame = pd.DataFrame(rows, columns=[column.name for column in columns])
    return frame.astype({column.name: _dtype(column.dtype) for column in columns})


def _dtype(dtype: str) -> str:
    return "str" if dtype == "category" else dtype

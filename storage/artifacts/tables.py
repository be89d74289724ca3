"""`tables/*.parquet`: small tables that any Parquet reader opens.

Each column carries its description and units in the file's schema, and the file its fingerprint. Models, layers and
kinds of guidance are categories in the file, so that tables are small and sort in the order of the run. Whoever reads
through this module has plain text, whose operations do not depend on which categories there are.
"""

import io
import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from rosetta.units import Units
from storage.artifacts.catalogue import columns_at
from storage.artifacts.columns import Column, Columns, of_each_model
from storage.artifacts.fingerprint import Fingerprint
from storage.artifacts.seals import break_seal
from storage.filesystem.root import Root

_KEY = b"rosetta"
Categories = Mapping[str, Sequence[str]]
"""By kind of column (:attr:`storage.artifacts.columns.Column.kind`): the categories in order."""
_AS_THEY_APPEAR: Categories = MappingProxyType({})


def categories_of(units: Mapping[str, Units]) -> Categories:
    """The categories of tables about some models: models as they come, layers in forward order.

    Parameters
    ----------
    units
        By model, in the order of the run. A layer's name that several models share is one category.
    """
    layers = dict.fromkeys(layer.name for of_model in units.values() for layer in of_model.layers)
    return {"model": list(units), "layer": list(layers)}


def typed(frame: pd.DataFrame, columns: Columns) -> pd.DataFrame:
    """The columns of a table, in order and of their types; text of a table without rows, too."""
    types = {one.name: "str" if one.dtype == "category" else one.dtype for one in columns}
    return frame[list(types)].astype(types)


def write(
    root: Root,
    path: str,
    frame: pd.DataFrame,
    fingerprint: Fingerprint,
    categories: Categories = _AS_THEY_APPEAR,
    **more: Any,
) -> None:
    """Write a whole table. The same rows give the same bytes.

    Parameters
    ----------
    path
        Of the table, under the root.
    categories
        Those that the table shares with others of the run, whether they are in it or not.
    more
        Plain values to store beside its fingerprint (:func:`attributes`).

    Raises
    ------
    ValueError
        The columns of the frame are not those of the catalogue.
    """
    content = encode(path, frame, fingerprint, categories, **more)
    break_seal(root, path)
    root.write_bytes(path, content)


def encode(
    path: str, frame: pd.DataFrame, fingerprint: Fingerprint, categories: Categories = _AS_THEY_APPEAR, **more: Any
) -> bytes:
    """A table as a Parquet file that carries its fingerprint, see :func:`write`."""
    columns = of_each_model(columns_at(path), list(frame.columns))
    if list(frame.columns) != (names := [column.name for column in columns]):
        raise ValueError(f"{path}: the columns are {list(frame.columns)}, and {names} in the catalogue")
    dtypes = {column.name: _dtype(path, frame[column.name], column, categories) for column in columns}
    arrow = pa.Table.from_pandas(frame.astype(dtypes), preserve_index=False)
    metadata = {**(arrow.schema.metadata or {}), _KEY: _about(fingerprint, more)}
    described = [_described(field, column) for field, column in zip(arrow.schema, columns, strict=True)]
    return _file(arrow.cast(pa.schema(described, metadata=metadata)))


def stamp(content: bytes, fingerprint: Fingerprint, **more: Any) -> bytes:
    """A Parquet file with another fingerprint, and its columns as they are; `more` as :func:`write` takes it."""
    table = pq.read_table(io.BytesIO(content), page_checksum_verification=True)
    about = {**(table.schema.metadata or {}), _KEY: _about(fingerprint, more)}
    return _file(table.replace_schema_metadata(about))


def _about(fingerprint: Fingerprint, more: Mapping[str, Any]) -> bytes:
    return json.dumps({**more, **fingerprint.attributes()}, sort_keys=True).encode()


def _file(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    return buffer.getvalue()


def _dtype(path: str, values: "pd.Series[Any]", column: Column, categories: Categories) -> Any:
    """The type in the file. The categories that are given come first, then others as they appear."""
    text = column.dtype in ("category", "str")
    if not (pd.api.types.is_string_dtype(values) if text else values.dtype == column.dtype):
        raise ValueError(f"{path}: {column.name} is {values.dtype}, and {column.dtype} in the catalogue")
    if column.dtype != "category":
        return column.dtype
    names = dict.fromkeys([*categories.get(column.kind, ()), *values.unique()])
    return pd.CategoricalDtype(pd.Index(list(names), dtype="str"))


def _described(field: pa.Field, column: Column) -> pa.Field:
    about = {"description": column.about, "units": column.units}
    return field.with_metadata({key: text for key, text in about.items() if text})


def read(root: Root, path: str) -> pd.DataFrame:
    """A whole table, with categories as plain text.

    Raises
    ------
    FileNotFoundError
        There is none.
    """
    return decode(root.read_bytes(path))


def decode(content: bytes) -> pd.DataFrame:
    """The table in a Parquet file, with categories as plain text."""
    frame = pq.read_table(io.BytesIO(content), page_checksum_verification=True).to_pandas()
    return frame.astype(dict.fromkeys(frame.select_dtypes("category"), "str"))


def is_present(root: Root, path: str) -> bool:
    """Whether a table is there with the columns that the catalogue describes."""
    try:
        columns = pq.read_schema(io.BytesIO(root.read_bytes(path))).names
    except (OSError, pa.ArrowInvalid):
        return False
    return columns == [column.name for column in columns_at(path)]


def attributes(root: Root, path: str) -> dict[str, Any]:
    """The fingerprint and other attributes of a table; empty where it is missing or cannot be read."""
    try:
        return attributes_of(root.read_bytes(path))
    except OSError:
        return {}


def attributes_of(content: bytes) -> dict[str, Any]:
    """The fingerprint and other attributes of a Parquet file; empty where they cannot be read."""
    try:
        metadata = pq.read_schema(io.BytesIO(content)).metadata or {}
        return dict(json.loads(metadata.get(_KEY, b"{}")))
    except (OSError, pa.ArrowInvalid, json.JSONDecodeError):
        return {}

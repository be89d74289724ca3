"""`tables/*.parquet`: small tables that any Parquet reader opens, with their fingerprint in the file's metadata."""

import io
import json
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from storage.artifacts.fingerprint import Fingerprint
from storage.artifacts.seals import break_seal
from storage.filesystem.root import Root

_KEY = b"rosetta"


def write(root: Root, path: str, frame: pd.DataFrame, fingerprint: Fingerprint, **more: Any) -> None:
    """Write a whole table. The same rows give the same bytes.

    Parameters
    ----------
    path
        Of the table, under the root.
    more
        Plain values to store beside its fingerprint (:func:`attributes`).
    """
    break_seal(root, path)
    root.write_bytes(path, encode(frame, fingerprint, **more))


def encode(frame: pd.DataFrame, fingerprint: Fingerprint, **more: Any) -> bytes:
    """A table as a Parquet file that carries its fingerprint."""
    arrow = pa.Table.from_pandas(frame, preserve_index=False)
    metadata = {
        **(arrow.schema.metadata or {}),
        _KEY: json.dumps({**more, **fingerprint.attributes()}, sort_keys=True).encode(),
    }
    buffer = io.BytesIO()
    pq.write_table(arrow.replace_schema_metadata(metadata), buffer, compression="zstd", write_page_checksum=True)
    return buffer.getvalue()


def read(root: Root, path: str) -> pd.DataFrame:
    """A whole table.

    Raises
    ------
    FileNotFoundError
        There is none.
    """
    return decode(root.read_bytes(path))


def decode(content: bytes) -> pd.DataFrame:
    """The table in a Parquet file."""
    return pq.read_table(io.BytesIO(content), page_checksum_verification=True).to_pandas()


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

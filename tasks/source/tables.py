"""Lists the images of Parquet and Arrow files as Hugging Face's datasets writes them: columns `image` and `label`.

Only names and labels are read, as far as the format lets them be read alone.
"""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.source.contents import BadDatasetError, Contents
from tasks.source.file_list import Files
from tasks.source.image_file import ImageFile, RecordBatch, Row, RowGroup, as_text, member_name
from tasks.source.places import local_path, reason_of

_IMAGE, _LABEL = "image", "label"
_LARGEST_GROUP = 1 << 30
"""Bytes of a group of rows, whose images are read together."""
_ARROW_FILE = b"ARROW1\0\0"
"""Stands before the stream in an Arrow file; `datasets` writes the stream alone."""

Group = RowGroup | RecordBatch


def list_parquet(file: ImageFile, content: IO[bytes]) -> Contents:
    """The images of a Parquet file.

    Raises
    ------
    BadDatasetError
        It is none, cut short, has no images, or has row groups of more than 1 GiB.
    """
    with _understood(file, "Parquet"):
        parquet = pq.ParquetFile(content)
        column, columns = _columns(parquet.schema_arrow, file)
        groups = [parquet.metadata.row_group(number) for number in range(parquet.num_row_groups)]
        for group in groups:
            # Asked for the size of a single column, pyarrow ends the process where its metadata are damaged.
            _require_small(group.total_byte_size, file)
        count = sum(group.num_rows for group in groups)
        # Without columns to read it would be taken at its word.
        table = parquet.read(columns=columns) if count <= (file.size or count) else pa.table({})
        if len(table) != count:
            raise BadDatasetError(file.source, "has fewer rows than it says")
        names, labels = _names(table, column), _labels(table, parquet.schema_arrow)
    stamp = file.stamp
    counts = [(RowGroup(column, at, stamp), one.num_rows) for at, one in enumerate(groups)]
    return _contents(file, counts, names, labels)


def list_arrow(file: ImageFile, content: IO[bytes]) -> Contents:
    """The images of an Arrow file, or of a stream in a file. One that lies elsewhere than on disk is read whole.

    Raises
    ------
    BadDatasetError
        It is none, cut short, has no images, or has record batches of more than 1 GiB.
    """
    counts: list[tuple[Group, int]] = []
    names: list[str | None] = []
    labels: list[str | None] = []
    stamp, path = file.stamp, local_path(file.url)
    with _understood(file, "Arrow"), pa.PythonFile(content, "r") if path is None else pa.memory_map(path) as source:
        source.seek(len(_ARROW_FILE) if source.read(len(_ARROW_FILE)) == _ARROW_FILE else 0)
        begin = source.tell()
        stream = pa.ipc.open_stream(source)
        column, columns = _columns(stream.schema, file)
        if any(map(pa.types.is_dictionary, stream.schema.types)):
            raise BadDatasetError(file.source, "has columns of categories", "save it as Parquet")
        stop = schema_end = source.tell()
        for batch in stream:
            start, stop = stop, source.tell()
            _require_small(stop - start, file)
            group = RecordBatch(column, (begin, schema_end), start, stop, stamp)
            wanted = [name for name in columns if "." not in name] + [column.partition(".")[0]]
            table = table_of(batch, wanted)
            counts.append((group, batch.num_rows))
            names += _names(table, column)
            labels += _labels(table, stream.schema)
        if source.tell() == stop:
            raise BadDatasetError(file.source, "is cut short (it has no end)")
    return _contents(file, counts, names, labels)


def table_of(batch: pa.RecordBatch, columns: Sequence[str]) -> pa.Table:
    """Some columns of a batch from a file; raises ArrowInvalid where these lead out of their memory.

    Reading a batch does not look at that, so that a damaged one ends the process.
    """
    chosen = batch.select(list(columns))
    chosen.validate(full=True)
    return pa.Table.from_batches([chosen])


def values_of(table: pa.Table, column: str) -> pa.ChunkedArray:
    """(row,) what a column holds, by its path."""
    name, _, field = column.partition(".")
    return pc.struct_field(table.column(name), field) if field else table.column(name)


def _contents(
    file: ImageFile, groups: Iterable[tuple[Group, int]], names: Sequence[str | None], labels: Sequence[str | None]
) -> Contents:
    """The images of a file, given its groups of rows and how many each has."""
    digits = len(str(len(names) - 1))
    distinct = None not in names and len(set(names)) == len(names)
    inside = names if distinct else (f"{number:0{digits}}" for number in range(len(names)))
    rows = (Row(group, row) for group, count in groups for row in range(count))
    return Contents(
        Files.of(
            ImageFile(
                file.url,
                f"{file.source}/{name}",
                0,
                f"{file.stamp} {row.group.start}/{row.number}",
                row,
                file.source,
                label,
            )
            for row, name, label in zip(rows, inside, labels, strict=True)
        )
    )


@contextmanager
def _understood(file: ImageFile, kind: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if not is_of_content(error):
            raise
        raise BadDatasetError(file.source, f"is no {kind} file, or cut short ({reason_of(error)})") from None


def is_of_content(error: Exception) -> bool:
    """Whether an error is about what a file holds, not about its disk or network; Arrow's are OSErrors as well."""
    return isinstance(error, pa.ArrowException | UnicodeDecodeError) or (type(error) is OSError and error.errno is None)


def _columns(schema: pa.Schema, file: ImageFile) -> tuple[str, list[str]]:
    """The path of the column that holds the images' bytes, and those of their names and labels."""
    name = _IMAGE
    if name not in schema.names:
        others = [field.name for field in schema if _is_bytes(field.type)]
        if len(others) != 1:
            shown = ", ".join(map(repr, schema.names[:8]))
            remedy = "call the one that holds the images' bytes 'image'"
            raise BadDatasetError(file.source, f"has no column 'image' (but {shown or 'none at all'})", remedy)
        (name,) = others
    kind = schema.field(name).type
    labels = [_LABEL] * (schema.names.count(_LABEL) == 1)
    if _is_struct(kind):
        named = kind.get_field_index("path") >= 0 and _is_text(kind.field("path").type)
        return f"{name}.bytes", [*labels, *[f"{name}.path"] * named]
    if _is_bytes(kind):
        return name, labels
    shown = ascii(str(kind))[1:-1][:60]
    raise BadDatasetError(
        file.source, f"has {shown} in its column {name!r}, no image files", "store the bytes of PNGs or JPEGs there"
    )


def _is_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or _is_struct(kind)


def _is_struct(kind: pa.DataType) -> bool:
    """Whether it is that of Hugging Face's images: bytes, and mostly a path."""
    if not pa.types.is_struct(kind) or kind.get_field_index("bytes") < 0:
        return False
    inner = kind.field("bytes").type
    return pa.types.is_binary(inner) or pa.types.is_large_binary(inner)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _require_small(size: int, file: ImageFile) -> None:
    if size > _LARGEST_GROUP:
        raise BadDatasetError(
            file.source,
            f"has {size / (1 << 30):.1f} GiB in one group of rows, whose images are read together",
            "write it with groups of 100 rows, for example",
        )


def _names(table: pa.Table, column: str) -> list[str | None]:
    """(row,) name of each image by itself; None where it has none that can be a part of a path."""
    name, _, field = column.partition(".")
    kind = table.schema.field(name).type if name in table.schema.names else None
    if not field or kind is None or kind.get_field_index("path") < 0 or not _is_text(kind.field("path").type):
        return [None] * len(table)
    paths = values_of(table, f"{name}.path").to_pylist()
    return [None if path is None or "://" in path else member_name(path) for path in paths]


def _labels(table: pa.Table, schema: pa.Schema) -> list[str | None]:
    """(row,) class of each image; None everywhere where there are none."""
    values = table.column(_LABEL).to_pylist() if _LABEL in table.schema.names else None
    if values is None or not all(value is None or isinstance(value, int | float | str) for value in values):
        return [None] * len(table)
    names = _class_names(schema)
    return [_label(value, names) for value in values]


def _label(value: Any, names: Sequence[str]) -> str:
    """A class as text; empty where it is not known."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if names and isinstance(value, int):
        # Datasets mark the classes of a test set, which are kept secret, with -1.
        return names[value] if 0 <= value < len(names) else "" if value == -1 else str(value)
    return " ".join(as_text(str(value)).split())


def _class_names(schema: pa.Schema) -> list[str]:
    """Of the labels, where Hugging Face's metadata has them; else none."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        names = features[_LABEL]["names"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []
    return [" ".join(as_text(str(name)).split()) for name in names] if isinstance(names, list) else []

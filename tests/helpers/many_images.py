"""The same pictures as files of many images, of every kind that a source may name."""

import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

KINDS = ("tar", "parquet", "arrow", "arrow file")
NAMES = ["cat", "dog", "owl"]
"""Of classes."""


@dataclass(frozen=True)
class Picture:
    name: str
    content: bytes
    label: int | None = None


def bmp(seed: int, side: int = 4) -> bytes:
    """A picture whose file has the same size whatever is in it."""
    content = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(content, "BMP")
    return content.getvalue()


PICTURES = [Picture(f"{number:02}.bmp", bmp(number), number % 3) for number in range(11)]
"""Of which two files of every kind are made, of six and of five."""


def write(kind: str, folder: str, pictures: Sequence[Picture] = PICTURES) -> str:
    """Write pictures to two files in a folder at any fsspec URL; gives the source that names them."""
    suffix = kind.split()[0]
    half = -(-len(pictures) // 2)
    for number, some in enumerate((pictures[:half], pictures[half:])):
        put(f"{folder}/{number}.{suffix}", file_of(kind, some))
    if kind == "arrow":
        files = [{"filename": f"{number}.arrow"} for number in range(2)]
        put(f"{folder}/state.json", json.dumps({"_data_files": files}).encode())
        put(f"{folder}/cache-0.arrow", file_of(kind, pictures[:2]))
        return folder
    return f"{folder}/*.{suffix}"


def put(url: str, content: bytes) -> None:
    with fsspec.open(url, "wb", auto_mkdir=True) if "://" not in url else fsspec.open(url, "wb") as file:
        file.write(content)


def file_of(kind: str, pictures: Sequence[Picture]) -> bytes:
    if kind == "tar":
        members = [(picture.name, picture.content) for picture in pictures]
        labels = [
            (f"{one.name.split('.')[0]}.cls", str(one.label).encode()) for one in pictures if one.label is not None
        ]
        return tar_of(*(member for pair in zip(members, labels, strict=True) for member in pair) if labels else members)
    table = table_of(pictures)
    content = io.BytesIO()
    if kind == "parquet":
        pq.write_table(table, content, row_group_size=2)
    else:
        with (pa.ipc.new_stream if kind == "arrow" else pa.ipc.new_file)(content, table.schema) as writer:
            writer.write_table(table, max_chunksize=2)
    return content.getvalue()


def tar_of(*members: tuple[str, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return content.getvalue()


def table_of(pictures: Sequence[Picture]) -> pa.Table:
    """As Hugging Face's datasets keeps images and their classes."""
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {"image": pa.array([{"bytes": one.content, "path": one.name} for one in pictures], kind)}
    features: dict[str, object] = {"image": {"_type": "Image"}}
    if any(one.label is not None for one in pictures):
        columns["label"] = pa.array([one.label for one in pictures], pa.int64())
        features["label"] = {"names": NAMES, "_type": "ClassLabel"}
    return pa.table(columns).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def label_of(kind: str, picture: Picture) -> str:
    """What a source of a kind says of a picture; a tar knows no names of classes."""
    assert picture.label is not None
    return str(picture.label) if kind == "tar" else NAMES[picture.label]

"""Parquet and Arrow files of images: their columns, names and labels, and tables that hold none."""

import json
import logging

import many_images
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from image_files import encoded
from many_images import KINDS, NAMES, PICTURES, Picture, bmp, file_of, put
from PIL import Image

from rosetta.errors import UserError
from rosetta.recipe import Images
from tasks.source import reading
from tasks.source.files import list_source
from tasks.source.image_file import ImageFile
from tasks.source.pixels import BadImageError, content_of, read_headers, square


def listed(source: object) -> list[ImageFile]:
    return list_source(Images(source=str(source)))


def parquet(folder, **columns) -> str:
    pq.write_table(pa.table(columns), folder / "a.parquet")
    return f"{folder}/a.parquet"


def rows(*values: object) -> pa.Array:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    return pa.array(values, kind)


@pytest.mark.parametrize(
    ("values", "names", "labels"),
    [
        ([0, 2, None], NAMES, ["cat", "owl", ""]),
        ([0, -1, 7], NAMES, ["cat", "", "7"]),
        ([0, 1, 5], None, ["0", "1", "5"]),
        ([0.0, float("nan"), 2.0], None, ["0", "", "2"]),
        (["x", "y z", None], None, ["x", "y z", ""]),
        ([True, False, True], None, ["True", "False", "True"]),
        ([[1], [2], [3]], None, [None] * 3),
        (pa.array(["u", "v", "u"]).dictionary_encode(), None, ["u", "v", "u"]),
    ],
)
def test_labels_of_a_table(values, names, labels, tmp_path):
    features = {"label": {"names": names}} if names else {}
    table = pa.table({"image": rows(*({"bytes": bmp(n), "path": None} for n in range(3))), "label": values})
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(table.replace_schema_metadata(metadata), tmp_path / "a.parquet")
    found = listed(f"{tmp_path}/a.parquet")
    assert [file.source for file in found] == [f"a.parquet/{number}" for number in range(3)]
    assert [file.label for file in found] == labels


@pytest.mark.parametrize("metadata", [b"", b"{", b"[]", b'{"info": 3}', b"[" * 10**5, b'{"info": {"features": []}}'])
def test_metadata_that_say_nothing(metadata, tmp_path):
    table = pa.table({"image": [bmp(0)], "label": [1]}).replace_schema_metadata({"huggingface": metadata})
    pq.write_table(table, tmp_path / "a.parquet")
    assert [file.label for file in listed(f"{tmp_path}/a.parquet")] == ["1"]


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["x.bmp", "y/z.bmp"], ["x.bmp", "y/z.bmp"]),
        (["x.bmp", "x.bmp"], ["0", "1"]),
        (["x.bmp", None], ["0", "1"]),
        (["../x.bmp", "y.bmp"], ["0", "1"]),
        (["/etc/x.bmp", "y.bmp"], ["0", "1"]),
        (["zip://x.bmp::a.zip", "y.bmp"], ["0", "1"]),
        ([f"{n}.bmp" for n in range(11)], sorted(f"{n}.bmp" for n in range(11))),
        ([None] * 11, [f"{n:02}" for n in range(11)]),
    ],
)
def test_rows_have_their_own_names_where_these_are_good(paths, names, tmp_path):
    source = parquet(tmp_path, image=rows(*({"bytes": bmp(n), "path": path} for n, path in enumerate(paths))))
    assert [file.source for file in listed(source)] == [f"a.parquet/{name}" for name in names]


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.struct([("bytes", pa.large_binary())])])
@pytest.mark.parametrize("column", ["image", "img"])
def test_columns_of_bytes(kind, column, tmp_path):
    values = [{"bytes": bmp(n)} for n in range(3)] if pa.types.is_struct(kind) else [bmp(n) for n in range(3)]
    source = parquet(tmp_path, id=[1, 2, 3], **{column: pa.array(values, kind)})
    assert [content_of(file) for file in listed(source)] == [bmp(n) for n in range(3)]


def test_a_deep_image_is_the_same_in_a_row_as_in_a_file(tmp_path):
    deep = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 65536, (9, 7), dtype=np.uint16)))
    (tmp_path / "0.png").write_bytes(deep)
    images = Images(size=5)
    (alone,) = listed(tmp_path / "0.png")
    expected = square(alone, content_of(alone), images)
    picture = Picture("0.png", deep)
    for kind in KINDS:
        put(f"{tmp_path}/a.{kind.split()[0]}", file_of(kind, [picture]))
        (inside,) = listed(f"{tmp_path}/a.{kind.split()[0]}")
        found = square(inside, content_of(inside), images)
        np.testing.assert_array_equal(found.pixels, expected.pixels)
        assert (found.crop, found.composited) == (expected.crop, expected.composited) == ((1 / 9, 0, 8 / 9, 1), False)


@pytest.mark.parametrize(
    "value", [None, {"bytes": None, "path": "/etc/passwd"}, {"bytes": b"", "path": "x"}, {"bytes": b"no"}]
)
def test_a_row_that_is_no_image_is_a_bad_image(value, tmp_path):
    source = parquet(tmp_path, image=rows({"bytes": bmp(0)}, value))
    good, bad = listed(source)
    assert content_of(good) == bmp(0)
    with pytest.raises(BadImageError, match=r"image a\.parquet/1 is .*; remove it from the dataset"):
        square(bad, content_of(bad), Images(size=4))
    (error,) = read_headers([good, bad], Images(size=4)).bad
    assert error.source == "a.parquet/1"


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"id": [1], "text": ["x"]}, "a.parquet has no column 'image' (but 'id', 'text'); call the one"),
        ({"a": [b"x"], "b": [b"y"]}, "a.parquet has no column 'image' (but 'a', 'b'); call the one"),
        ({"image": ["photos/0.png"]}, "a.parquet has string in its column 'image', no image files; store the bytes"),
        ({"image": [[0, 255]]}, "a.parquet has list<"),
        ({"image": [{"a\nb": 1}]}, r"a.parquet has struct<a\nb: int64> in its column 'image'"),
        ({"a\nb": [1]}, r"has no column 'image' (but 'a\nb')"),
    ],
)
def test_a_table_without_images_is_one_line(columns, words, tmp_path):
    with pytest.raises(UserError) as refused:
        listed(parquet(tmp_path, **columns))
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_rows_that_are_not_there_are_not_counted(tmp_path):
    source = parquet(tmp_path, image=[bmp(0)])
    size = (tmp_path / "a.parquet").stat().st_size
    pq.write_table(pa.table({"image": [b"x"] * 10 * size}), source)
    with pytest.raises(UserError, match=r"a\.parquet has fewer rows than it says; copy it again"):
        listed(source)


def test_groups_of_rows_that_memory_would_not_hold_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.source.tables._LARGEST_GROUP", 100)
    for kind in KINDS[1:]:
        put(f"{tmp_path}/a.{kind.split()[0]}", file_of(kind, PICTURES))
        with pytest.raises(UserError, match=r"GiB in one group of rows.*; write it with groups of 100 rows"):
            listed(f"{tmp_path}/a.{kind.split()[0]}")


def test_there_is_nothing_to_say_of_labels(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "rosetta"):
        for kind in ("tar", "parquet"):
            listed(many_images.write(kind, str(tmp_path)))
    assert caplog.messages == []


def test_the_footer_of_a_file_is_read_once_and_again_when_the_file_changed(tmp_path, monkeypatch):
    footers = []
    monkeypatch.setattr(
        reading.pq, "read_metadata", lambda *of, kept=reading.pq.read_metadata: footers.append(of) or kept(*of)
    )
    monkeypatch.setattr(reading, "_KEPT", 0)
    table = pa.table({"image": [bmp(n) for n in range(6)]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    files = listed(tmp_path / "a.parquet")
    assert [content_of(file) for file in (*files, *files)] == [bmp(n) for n in range(6)] * 2
    assert len(footers) == 1
    pq.write_table(table.slice(1).take([4, 3, 2, 1, 0]), tmp_path / "a.parquet", row_group_size=1)
    assert content_of(files[0]) == bmp(5)
    assert len(footers) == 2
    (tmp_path / "a.parquet").write_bytes(b"PAR1 no more PAR1")
    with pytest.raises(BadImageError):
        content_of(files[4])

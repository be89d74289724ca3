"""Files that hold many images: what is listed and read of them, wherever they lie, and what is refused."""

import io
import json
import logging
import os
import re
import tarfile
import zipfile

import many_images
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_files import encoded
from many_images import KINDS, NAMES, PICTURES, Picture, bmp, file_of, label_of, put, table_of, tar_of
from PIL import Image

from rosetta.errors import UserError
from rosetta.recipe import Images
from tasks.source import reading, tars
from tasks.source.braces import expanded
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


# What is listed and read.


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", ["disk", "memory", "cached", "zip"])
def test_every_kind_gives_the_same_images_everywhere(kind, where, tmp_path):
    at = f"memory://{tmp_path.name}" if where == "memory" else str(tmp_path / "data")
    source = many_images.write(kind, at)
    if where == "cached":
        source = f"simplecache::file://{source}"
    if where == "zip":
        with zipfile.ZipFile(tmp_path / "data.zip", "w") as packed:
            for path in (tmp_path / "data").iterdir():
                packed.write(path, f"data/{path.name}")
        source = f"zip://{source.removeprefix(f'{tmp_path}/')}::{tmp_path}/data.zip"
    found = listed(source)
    assert [file.source.partition("/")[2] for file in found] == [picture.name for picture in PICTURES]
    assert [file.source[:2] for file in found] == ["0."] * 6 + ["1."] * 5
    assert [content_of(file) for file in found] == [picture.content for picture in PICTURES]
    assert [content_of(file) for file in reversed(found)] == [picture.content for picture in reversed(PICTURES)]
    assert [file.label for file in found] == [label_of(kind, picture) for picture in PICTURES]
    assert {file.folder for file in found} == {""}
    headers = read_headers(found, Images(size=8))
    assert (headers.bad, headers.sides) == ((), (4,) * 11)


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_gives_its_datasets_where_it_has_no_image_files(kind, tmp_path, caplog):
    many_images.write(kind, str(tmp_path / "data"))
    (tmp_path / "data/README.md").touch()
    found = listed(tmp_path / "data")
    assert len(found) == 11
    (tmp_path / "data/logo.png").write_bytes(bmp(0))
    caplog.clear()
    assert [file.source for file in listed(tmp_path / "data")] == ["logo.png"]
    assert "datasets beside other files; to read them, name them" in caplog.text
    (tmp_path / "data/README.md").unlink()
    assert [file.source for file in listed(f"{tmp_path}/data/*[!n]")] == ["logo.png"], "nor does a glob read both"
    (tmp_path / "data/logo.png").unlink()
    assert len(listed(f"{tmp_path}/data/[0-9]*")) == 11


def test_a_saved_dataset_has_the_files_that_its_state_names(tmp_path, caplog):
    for split in ("test", "train"):
        many_images.write("arrow", str(tmp_path / split))
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    found = listed(tmp_path)
    assert len(found) == 22
    assert {(file.folder, file.within) for file in found} == {
        (split, f"{split}/{number}.arrow") for split in ("test", "train") for number in range(2)
    }
    assert "left out 2 files (test/cache-0.arrow, train/cache-0.arrow): caches of a saved dataset" in caplog.text
    (tmp_path / "train/1.arrow").unlink()
    with pytest.raises(UserError, match=r"train/state\.json names 'train/1\.arrow', which is not there"):
        listed(tmp_path)
    assert len(listed(tmp_path / "train/*.arrow")) == 6, "who names files wants those"


@pytest.mark.parametrize("scheme", ["", "memory://"])
def test_braces_name_shards(scheme, tmp_path):
    at = f"memory://{tmp_path.name}" if scheme else str(tmp_path)
    for split in ("train", "val"):
        for number in range(8, 12):
            put(f"{at}/{split}/{number:02}.tar", tar_of((f"{split}{number}.bmp", bmp(number))))
    found = listed(f"{at}/{{train,val}}/{{08..11}}.tar")
    assert [file.source for file in found] == [
        f"{split}/{number:02}.tar/{split}{number}.bmp" for split in ("train", "val") for number in range(8, 12)
    ]
    assert [file.source for file in listed(f"{at}/val/{{10..11}}.tar")] == ["10.tar/val10.bmp", "11.tar/val11.bmp"]
    assert [file.source[:9] for file in listed(f"{at}/{{val,train}}/*0.tar")] == ["train/10.", "val/10.ta"]
    with pytest.raises(UserError, match=r"images\.source: 12\.tar is not there"):
        listed(f"{at}/train/{{08..12}}.tar")


def test_braces_may_be_part_of_a_name(tmp_path):
    put(f"{tmp_path}/a {{b,c}}/x.bmp", bmp(0))
    put(f"{tmp_path}/a b/y.bmp", bmp(0))
    assert [file.source for file in listed(f"{tmp_path}/a {{b,c}}/*.bmp")] == ["x.bmp"]


@pytest.mark.parametrize(
    ("text", "every"),
    [
        ("a", ["a"]),
        ("{a}", ["{a}"]),
        ("{a,b}c", ["ac", "bc"]),
        ("{8..11}", ["8", "9", "10", "11"]),
        ("{08..11}", ["08", "09", "10", "11"]),
        ("{000..002}.{x,y}", ["000.x", "000.y", "001.x", "001.y", "002.x", "002.y"]),
        ("{2..0}", ["2", "1", "0"]),
        ("{a,{1..2}}", ["a", "1", "a", "2"]),
    ],
)
def test_what_braces_stand_for(text, every):
    assert sorted(set(expanded(text))) == sorted(set(every))


def test_braces_without_end_are_refused(tmp_path):
    with pytest.raises(UserError, match="its braces name more than 100,000 files"):
        listed(f"{tmp_path}/{{0..99}}/{{0..9999}}.tar")


def test_a_file_is_gone_through_once_as_long_as_it_is_the_same(tmp_path, monkeypatch):
    gone_through = []
    monkeypatch.setattr(tars, "_members", lambda *of, kept=tars._members: gone_through.append(of) or kept(*of))
    source = many_images.write("tar", str(tmp_path))
    for _ in range(3):
        listed(source)
    assert len(gone_through) == 2
    put(f"{tmp_path}/1.tar", tar_of(("new.bmp", bmp(1))))
    assert listed(source)[-1].source == "1.tar/new.bmp"
    assert len(gone_through) == 3


def test_a_group_of_rows_is_read_once_where_neighbours_are_asked_for(tmp_path, monkeypatch):
    groups = []
    monkeypatch.setattr(reading, "_read_group", lambda *of, kept=reading._read_group: groups.append(of) or kept(*of))
    found = listed(many_images.write("parquet", str(tmp_path)))
    monkeypatch.setattr(reading, "_GROUPS", reading._Groups())
    assert not read_headers(found[::-1], Images(size=4, seed=1)).bad
    assert len(groups) == 6, "of two rows each"
    monkeypatch.setattr(reading, "_KEPT", 0)
    monkeypatch.setattr(reading, "_GROUPS", reading._Groups())
    for file in found + found[::-1]:
        content_of(file)
    assert len(groups) == 6 + 6 + 5, "only the last is kept, where no more is allowed"


# Tars.


@given(
    st.dictionaries(
        st.tuples(
            st.sampled_from(["", "a/", "a.b/c/", "./"]),
            st.sampled_from(["0", "1", "00"]),
            st.sampled_from(["jpg", "JPG", "seg.png", "png", "cls", "json", "txt", "bin", "left.jpg"]),
        ),
        st.binary(max_size=3),
        max_size=12,
    )
)
def test_samples_of_a_tar(tmp_path_factory, files):
    """Against WebDataset's own rule for keys, by its regular expression."""
    path = tmp_path_factory.mktemp("tar") / "a.tar"
    path.write_bytes(tar_of(*(("".join((folder, f"{key}.{end}")), data) for (folder, key, end), data in files.items())))
    samples: dict[str, dict[str, bytes]] = {}
    for (folder, key, end), data in files.items():
        match = re.match(r"^((?:.*/|)[^.]+)[.]([^/]*)$", f"{folder.removeprefix('./')}{key}.{end}")
        samples.setdefault(match[1], {})[match[2]] = data
    expected = {}
    for key, sample in samples.items():
        images = [end for end in sample if end.lower().endswith(("jpg", "png"))]
        for end in [end for end in images if "." not in end] or images:
            expected[f"a.tar/{key}.{end}"] = sample[end]
    if not expected:
        with pytest.raises(UserError, match=r"has no images: .*a\.tar|holds .* other file"):
            listed(path)
        return
    assert {file.source: content_of(file) for file in listed(path) if file.size} == {
        name: content for name, content in expected.items() if content
    }


@pytest.mark.parametrize(
    ("beside", "label"),
    [
        ({}, None),
        ({"cls": b"7\n"}, "7"),
        ({"cls": b"a fine class"}, "a fine class"),
        ({"json": b'{"label": 3, "z": [1]}'}, "3"),
        ({"json": b'{"label": "caf\\u00e9"}'}, "café"),
        ({"json": b'{"label": [1, 2]}'}, None),
        ({"json": b"[1"}, None),
        ({"json": b"[" * 100_000}, None),
        ({"txt": b"dog"}, "dog"),
        ({"txt": b"a dog on the beach"}, None),
        ({"cls": b"1", "json": b'{"label": 2}', "txt": b"3"}, "1"),
        ({"json": b'{"label": 2}', "txt": b"3"}, "2"),
        ({"cls": b"\xff\xfe"}, None),
    ],
)
def test_labels_of_a_tar(beside, label, tmp_path):
    put(f"{tmp_path}/a.tar", tar_of(("x/0.bmp", bmp(0)), *((f"x/0.{end}", data) for end, data in beside.items())))
    assert [file.label for file in listed(f"{tmp_path}/a.tar")] == [label]


def test_captions_are_no_classes(tmp_path):
    members = [
        (f"{n}.{end}", data) for n in range(3) for end, data in (("bmp", bmp(n)), ("txt", b"one" if n else b"a b"))
    ]
    put(f"{tmp_path}/a.tar", tar_of(*members))
    assert {file.label for file in listed(f"{tmp_path}/a.tar")} == {None}


def test_names_that_lead_out_of_a_tar_and_links_are_left_out(tmp_path, caplog):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name in ("../up.bmp", "/etc/abs.bmp", "a/../../b.bmp", "./in/good.bmp", "._x.bmp", "in/.git/y.bmp"):
            member = tarfile.TarInfo(name)
            member.size = len(bmp(1))
            tar.addfile(member, io.BytesIO(bmp(1)))
        for kind, name in ((tarfile.SYMTYPE, "passwd.bmp"), (tarfile.LNKTYPE, "hard.bmp"), (tarfile.FIFOTYPE, "f.bmp")):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
        member = tarfile.TarInfo("two\nlines.bmp")
        member.size = len(bmp(2))
        tar.addfile(member, io.BytesIO(bmp(2)))
    put(f"{tmp_path}/a.tar", content.getvalue())
    found = listed(f"{tmp_path}/a.tar")
    assert [file.source for file in found] == ["a.tar/in/good.bmp", r"a.tar/two\nlines.bmp"]
    assert found[0].folder == "in"
    assert "left out 3 files (../up.bmp, /etc/abs.bmp, a/../../b.bmp): members whose names lead out" in caplog.text
    assert "links inside a tar, which are not followed" in caplog.text
    assert os.listdir(tmp_path) == ["a.tar"], "nothing is unpacked"  # noqa: PTH208


def test_the_last_of_members_with_one_name_counts_and_masks_are_no_images(tmp_path, caplog):
    put(
        f"{tmp_path}/a.tar",
        tar_of(("0.bmp", bmp(0)), ("0.seg.bmp", bmp(1)), ("0.bmp", bmp(2)), ("1.l.bmp", bmp(3)), ("1.r.bmp", bmp(4))),
    )
    found = listed(f"{tmp_path}/a.tar")
    assert [content_of(file) for file in found] == [bmp(2), bmp(3), bmp(4)]
    assert "left out 1 file (a.tar/0.bmp): members that a later one of the same name replaces" in caplog.text
    assert "left out 1 file (a.tar/0.seg.bmp): images beside the one" in caplog.text


@pytest.mark.parametrize("size", [-1, -512, -1024, -5000, 2**40])
def test_sizes_that_lead_astray(size, tmp_path):
    """Which tarfile would follow back to where it came from."""
    content = bytearray(tar_of(("0.bmp", bmp(0)), ("1.bmp", bmp(1)), ("2.bmp", bmp(2))))
    header = tarfile.TarInfo("1.bmp")
    header.size = size
    content[1024:1536] = header.tobuf(tarfile.GNU_FORMAT)
    put(f"{tmp_path}/a.tar", bytes(content))
    with pytest.raises(UserError, match=r"a\.tar is no tar, damaged or cut short"):
        listed(f"{tmp_path}/a.tar")


@given(cut=st.integers(0, 10_239))
def test_a_tar_cut_short_anywhere_is_noticed(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("cut") / "a.tar"
    whole = tar_of(*((f"{number}.bmp", bmp(number)) for number in range(4)))
    end = 4 * (512 + 512)
    path.write_bytes(whole[:cut])
    if cut >= end + 512:
        assert len(listed(path)) == 4, "only the padding is cut"
        return
    with pytest.raises(UserError) as refused:
        listed(path)
    assert str(refused.value).startswith("images.source: a.tar is no tar, damaged or cut short (")
    assert "; copy it again" in str(refused.value)
    assert "\n" not in str(refused.value)


# Tables.


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


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_became_another_meanwhile_is_damaged_not_misread(kind, tmp_path):
    suffix = kind.split()[0]
    put(f"{tmp_path}/a.{suffix}", file_of(kind, PICTURES))
    found = listed(f"{tmp_path}/a.{suffix}")
    put(f"{tmp_path}/a.{suffix}", file_of(kind, PICTURES[:1]))
    with pytest.raises(BadImageError, match="is damaged"):
        content_of(found[-1])


@pytest.mark.parametrize("kind", KINDS)
@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=5))
def test_damage_of_any_kind_is_refused_or_a_bad_image(tmp_path_factory, kind, damage):
    """Arrow's reader follows damaged offsets wherever they lead, unless batches are checked."""
    path = tmp_path_factory.mktemp("damaged") / f"a.{kind.split()[0]}"
    content = bytearray(file_of(kind, PICTURES[:5]))
    for at, value in damage:
        content[int(at * len(content))] = value
    path.write_bytes(content)
    try:
        found = listed(path)
    except UserError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return
    for file in found:
        try:
            assert content_of(file) is not None
        except BadImageError as error:
            assert "is damaged" in error.reason  # noqa: PT017


# What is refused, in one line.


def cut(kind: str, share: float) -> bytes:
    whole = file_of(kind, PICTURES)
    return whole[: int(len(whole) * share)]


def saved(state: bytes) -> dict[str, bytes]:
    return {"d/0.arrow": file_of("arrow", PICTURES), "d/state.json": state}


NO_ROWS = table_of([])


def empty(kind: str) -> bytes:
    return file_of(kind, [])


BAD = {
    "parquet cut": ({"a.parquet": cut("parquet", 0.5)}, "a.parquet", "a.parquet is no Parquet file, or cut short"),
    "arrow cut": ({"a.arrow": cut("arrow", 0.5)}, "a.arrow", "a.arrow is no Arrow file, or cut short"),
    "arrow without end": ({"a.arrow": file_of("arrow", PICTURES)[:-8]}, "a.arrow", "is cut short (it has no end)"),
    "arrow file cut": ({"a.arrow": cut("arrow file", 0.4)}, "a.arrow", "a.arrow is no Arrow file, or cut short"),
    "text": ({"a.parquet": b"version https://git-lfs"}, "a.parquet", "a.parquet is no Parquet file"),
    "nothing in a tar": ({"a.tar": b""}, "a.tar", "a.tar is no tar, damaged or cut short (empty file)"),
    "empty tar": ({"a.tar": tar_of()}, "*.tar", "has no images: there are none in 1 file (a.tar)"),
    "tar of texts": ({"a.tar": tar_of(("a.txt", b"x"))}, "a.tar", "has no images: there are none in 1 file (a.tar)"),
    "empty parquet": ({"a.parquet": empty("parquet")}, "", "has no images: there are none in 1 file (a.parquet)"),
    "empty arrow": ({"a.arrow": empty("arrow")}, "", "has no images: there are none in 1 file (a.arrow)"),
    "compressed": ({"a.tar.gz": b"x"}, "*.tar.gz", "a.tar.gz is compressed, so single images cannot be read"),
    "two kinds": (
        {"a.tar": tar_of(), "b.parquet": empty("parquet")}, "", "it holds .parquet and .tar files; name those"
    ),
    "no state": (saved(b"{}"), "d", "state.json does not say which files the dataset has"),
    "a shard less": (
        saved(b'{"_data_files": [{"filename": "0.arrow"}, {"filename": "1.arrow"}]}'), "d",
        "state.json names '1.arrow', which is not there",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_read_is_one_line(case, tmp_path):
    files, source, words = BAD[case]
    for name, content in files.items():
        put(f"{tmp_path}/{name}", content)
    with pytest.raises(UserError) as refused:
        listed(f"{tmp_path}/{source}")
    line = str(refused.value)
    assert line.startswith("images.source")
    assert words in line
    assert "; " in line
    assert "\n" not in line


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

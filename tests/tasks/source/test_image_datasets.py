"""Files that hold many images: what is listed and read of them, wherever they lie, and what is refused."""

import zipfile

import many_images
import pytest
from hypothesis import given
from hypothesis import strategies as st
from many_images import KINDS, PICTURES, bmp, file_of, label_of, put, table_of, tar_of

from rosetta.errors import UserError
from rosetta.recipe import Images
from tasks.source import reading, tars
from tasks.source.braces import expanded
from tasks.source.files import list_source
from tasks.source.image_file import ImageFile
from tasks.source.pixels import BadImageError, content_of, read_headers


def listed(source: object) -> list[ImageFile]:
    return list_source(Images(source=str(source)))


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
    assert (headers.bad, headers.sides.tolist()) == ((), [4] * 11)


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
    for file in [*found, *found[::-1]]:
        content_of(file)
    assert len(groups) == 6 + 6 + 5, "only the last is kept, where no more is allowed"


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

"""Tars of images: what is a sample and its label, which names are taken, and what is noticed of damage."""

import io
import os
import re
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from many_images import bmp, put, tar_of

from rosetta.errors import UserError
from rosetta.recipe import Images
from tasks.source.files import list_source
from tasks.source.image_file import ImageFile
from tasks.source.pixels import content_of


def listed(source: object) -> list[ImageFile]:
    return list_source(Images(source=str(source)))


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

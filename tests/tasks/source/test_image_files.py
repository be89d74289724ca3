"""Which files a source gives: against walks by the standard library, wherever the files lie."""

import glob
import io
import logging
import os
import tarfile
import zipfile
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import fsspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from strategies import IMAGE_SUFFIXES, LINKS, TREES

from rosetta.errors import UserError
from rosetta.recipe import Images
from tasks.source.files import find_images, list_source
from tasks.source.formats import formats, suffixes
from tasks.source.image_file import ImageFile
from tasks.source.pixels import content_of


def grow(root: Path, tree: list) -> None:
    """Files whose content is their path, where no folder of that name is yet."""
    for above, stem, suffix in tree:
        path = root.joinpath(*above, stem + suffix)
        if not path.exists() and not any(parent.is_file() for parent in path.parents):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.fsencode(path.relative_to(root)))


def link(root: Path, asked: list) -> None:
    """Links from some folder of a tree to something in it, or above it."""
    for place, name, target in asked:
        inside = [root, *(path for path in sorted(root.rglob("*")) if not path.is_symlink())]
        above = [path for path in inside if path.is_dir()]
        path = above[place % len(above)] / name
        if not path.exists() and not path.is_symlink():
            path.symlink_to([*inside, root.parent, root / "nowhere"][target % (len(inside) + 2)])


def walked(root: Path) -> set[str]:
    """Paths of all images below a folder by os.walk, which goes round in circles where no one stops it."""
    found = set()
    for folder, names, others in os.walk(root, followlinks=True):
        here = Path(folder)
        lexical = [here, *(parent for parent in here.parents if parent.is_relative_to(root))]
        above = {place for path in lexical for place in [path.resolve(), *path.resolve().parents]}
        names[:] = [name for name in names if name[0] != "."]
        names[:] = [name for name in names if not (here / name).is_symlink() or (here / name).resolve() not in above]
        found |= {
            (here / name).relative_to(root).as_posix()
            for name in others
            if name[0] != "." and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES and (here / name).is_file()  # noqa: PTH122
        }
    return found


def sources(source: object) -> list[str]:
    return [file.source for file in list_source(Images(source=str(source)))]


@given(TREES, LINKS)
def test_a_folder_gives_all_images_below_it(tree, linked):
    with TemporaryDirectory() as folder:
        root = Path(folder).resolve() / "photos"
        root.mkdir()
        grow(root, tree)
        link(root, linked)
        expected = sorted(walked(root))
        if not expected:
            with pytest.raises(UserError, match="has no images"):
                sources(root)
            return
        found = list_source(Images(source=str(root)))
        assert [file.source for file in found] == expected
        for file in found:
            path = root / file.source
            assert content_of(file) == path.read_bytes()
            assert (file.size, file.modified) == (path.stat().st_size, str(path.stat().st_mtime_ns))


@given(
    TREES, st.sampled_from(["*.jpg", "*", "*/*.jpg", "**/*.jpg", "?.*", "[ab]*/*", "a/**/*.avif", "**", ".a*", "*/.a*"])
)
def test_a_glob_gives_what_matches(tree, pattern):
    with TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        grow(root, tree)
        matches = (name for name in glob.glob(pattern, root_dir=root, recursive=True) if (root / name).is_file())  # noqa: PTH207
        visible = {name for name in matches if name.rpartition("/")[2].lower() != "thumbs.db"}
        try:
            found = find_images(f"{root}/{pattern}", "images.source").files
        except UserError:
            found = []
        fixed = "a/" if pattern.startswith("a/") else ""
        assert [fixed + file.source for file in found] == sorted(visible)


TREE = ["0.jpg", "d/1.JPG", "d/e/2.avif", "d/._1.jpg", ".git/3.jpg", "notes.txt", "d/photos [2024]/4.jpg", "d/x y.png"]
WHOLE = ["0.jpg", "d/1.JPG", "d/e/2.avif", "d/photos [2024]/4.jpg", "d/x y.png"]


def places(folder: Path) -> dict[str, str]:
    """URLs of one tree in filesystems of all kinds, to be completed with a path inside it."""
    for name in TREE:
        path = folder / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    fsspec.filesystem("memory").put(str(folder / "tree"), f"/{folder.name}", recursive=True)
    with zipfile.ZipFile(folder / "a.zip", "w") as packed:
        for name in TREE:
            packed.write(folder / "tree" / name, name)
    for kind, suffix in (("w", "tar"), ("w:gz", "tar.gz"), ("w:xz", "tar.xz")):
        with tarfile.open(folder / f"a.{suffix}", kind) as packed:
            packed.add(folder / "tree", "")
    return {
        "local": f"{folder}/tree/{{}}",
        "file": f"file://{folder}/tree/{{}}",
        "memory": f"memory://{folder.name}/{{}}",
        "zip": f"zip://{{}}::{folder}/a.zip",
        "tar": f"tar://{{}}::file://{folder}/a.tar",
        "tar.gz": f"tar://{{}}::{folder}/a.tar.gz",
        "tar.xz": f"tar://{{}}::{folder}/a.tar.xz",
        "cached": f"simplecache::zip://{{}}::{folder}/a.zip",
        "cached files": f"simplecache::file://{folder}/tree/{{}}",
    }


@pytest.mark.parametrize(
    "kind", ["local", "file", "memory", "zip", "tar", "tar.gz", "tar.xz", "cached", "cached files"]
)
def test_every_filesystem_gives_the_same(kind, tmp_path):
    url = places(tmp_path)[kind]
    asked = {
        "": WHOLE,
        "d": ["1.JPG", "e/2.avif", "photos [2024]/4.jpg", "x y.png"],
        "*.jpg": ["0.jpg"],
        "d/*": ["1.JPG", "x y.png"],
        "**/*.jpg": ["0.jpg", "d/photos [2024]/4.jpg"],
        "d/photos [2024]/*.jpg": ["4.jpg"],
        "d/photos [[]2024]/*.jpg": ["photos [2024]/4.jpg"],
        "d/e/2.avif": ["2.avif"],
    }
    for inside, expected in asked.items():
        found = list_source(Images(source=url.format(inside)))
        assert [file.source for file in found] == expected, inside
        for file in found:
            whole = next(name for name in TREE if name.endswith(file.source))
            assert content_of(file) == whole.encode()
            assert file.size == len(whole)
            assert file.modified or kind == "memory"
            with fsspec.open(file.url) as opened:
                assert opened.read() == whole.encode()


def test_a_relative_archive_is_found_from_elsewhere(tmp_path, monkeypatch):
    places(tmp_path)
    monkeypatch.chdir(tmp_path)
    (file,) = list_source(Images(source="zip://*.jpg::a.zip"))
    assert file.url == f"zip://0.jpg::file://{tmp_path}/a.zip"
    monkeypatch.chdir("/")
    assert content_of(file) == b"0.jpg"


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_an_archive_is_gone_through_once(kind, tmp_path, monkeypatch):
    opened = []
    for library in (zipfile.ZipFile, tarfile.TarFile):
        monkeypatch.setattr(library, "__init__", counted(library.__init__, opened))
    source = places(tmp_path)[kind].format("")
    opened.clear()
    found = list_source(Images(source=source))
    for _ in range(20):
        assert [content_of(file).decode() for file in reversed(found)] == WHOLE[::-1]
    assert len(opened) == 1 + (kind == "tar.gz"), "the second one is of the decompressed file"


def counted(method, calls):
    def call(*args, **kwargs):
        calls.append(method)
        return method(*args, **kwargs)

    return call


def test_an_archive_that_is_another_by_now(tmp_path):
    for content in (b"one", b"two"):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
            packed.writestr("0.jpg", content)
        (file,) = list_source(Images(source=f"zip://*.jpg::{tmp_path}/a.zip"))
        assert content_of(file) == content


def test_a_stamp_tells_of_a_change(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"one")
    (before,) = list_source(Images(source=str(tmp_path)))
    (tmp_path / "a.jpg").write_bytes(b"two")
    os.utime(tmp_path / "a.jpg", ns=(1, int(before.modified) + 1))
    assert list_source(Images(source=str(tmp_path))) == [
        ImageFile(before.url, before.source, 3, str(int(before.modified) + 1))
    ]


@pytest.mark.parametrize(
    ("names", "pattern", "said"),
    [
        (["a.jpg", ".b.jpg", ".c/d.jpg", "Thumbs.db"], "", "left out 3 hidden items"),
        (["a.jpg", "b.txt", ".c"], "", "left out 1 hidden item and 1 other file"),
        (
            ["a.jpg", "b.heic", "c.HEIC", "d.cr2"],
            "",
            "left out 1 .cr2, 2 .heic, which cannot be read here; convert them",
        ),
        (
            ["a.jpg", "b.JPG", "c.Jpg", "d.png"],
            "*.jpg",
            "left out 2 files (b.JPG, c.Jpg), which differ from the glob in",
        ),
        (["a.jpg", "._b.jpg", ".x", "Thumbs.db"], "*", "left out 3 hidden items"),
    ],
)
def test_what_is_left_out_is_said(names, pattern, said, tmp_path, caplog):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with caplog.at_level(logging.INFO, "rosetta"):
        assert sources(f"{tmp_path}/{pattern}") == ["a.jpg"]
    (line,) = caplog.messages
    assert line.startswith(f"images.source: {said}")


def test_links_that_are_not_followed_are_said(tmp_path, caplog):
    (tmp_path / "b").mkdir()
    (tmp_path / "b/a.jpg").touch()
    for name, target in (("b/up", tmp_path), ("gone.jpg", tmp_path / "no"), ("self.jpg", tmp_path / "self.jpg")):
        (tmp_path / name).symlink_to(target)
    assert sources(tmp_path) == ["b/a.jpg"]
    assert caplog.messages == [
        "images.source: left out 2 files (gone.jpg, self.jpg): links to nothing",
        "images.source: did not follow 1 file (b/up): links to a folder that holds them",
    ]


def test_folders_that_link_to_each_other_end(tmp_path):
    names = [f"{number}" for number in range(4)]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").touch()
        for other in names:
            if other != name:
                (tmp_path / name / f"to {other}").symlink_to(tmp_path / other)
    found = sources(tmp_path)
    assert len(found) == 4 * (1 + 3 + 3 * 2 + 3 * 2 * 1), "every way that comes to no folder twice"


def test_names_of_any_bytes(tmp_path):
    name = b"\xff\xfe.jpg"
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(b"here")
    (file,) = list_source(Images(source=str(tmp_path)))
    assert file.source == r"\xff\xfe.jpg"
    assert file.source.encode()
    assert content_of(file) == b"here"


def test_members_cannot_leave_their_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr("../b.jpg", b"")
        packed.writestr("c/../../d.jpg", b"")
        packed.writestr("e.jpg", b"")
    assert sources(f"zip://**::{tmp_path}/a.zip") == ["e.jpg"]


def test_suffixes_are_of_what_pillow_reads():
    assert {".jpg", ".jpeg", ".jfif", ".avif", ".webp", ".png", ".tif", ".bmp", ".jp2", ".gif", ".ppm"} <= suffixes()
    assert not {".heic", ".pdf", ".eps", ".mpg", ".h5", ".svg"} & suffixes()
    assert "EPS" not in formats(), "reading one starts another program"


class Moody(fsspec.AbstractFileSystem):
    """A filesystem with errors of its own."""

    protocol = "moody"

    def ls(self, path, detail=True, **kwargs):
        raise RuntimeError("not\ntoday")


fsspec.register_implementation("moody", Moody, clobber=True)
fsspec.register_implementation("lacking", "no_such_library.FileSystem", clobber=True)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("nowhere://x", ["Protocol not known: nowhere", "give a path or an installed fsspec protocol"]),
        ("lacking://x/*.jpg", ["lacking", "no_such_library"]),
        ("moody://x/*.jpg", ["cannot be listed (not today)"]),
        ("zip://*.jpg::{0}/no.zip", ["No such file or directory", "no.zip"]),
        ("zip://*.jpg::{0}/text.zip", ["File is not a zip file"]),
        ("zip://*.jpg::{0}/cut.zip", ["cannot be listed"]),
        ("tar://*.jpg::{0}/text.tar", ["cannot be listed"]),
        ("tar://::{0}/cut.tar.gz", ["cannot be listed"]),
        ("zip://*.jpg::moody://x.zip", ["not today"]),
        ("{0}/no/*.jpg", ["No such file or directory", "check the path"]),
        ("{0}/no", ["nothing matches it"]),
        ("{0}/empty", ["it is empty"]),
        ("{0}/empty/*.jpg", ["nothing matches it"]),
        ("{0}/empty/x [1]/*.jpg", ["write [[] for a bracket"]),
        ("{0}\\empty\\*.jpg", ["write / between folders"]),
        ("{0}/**x/*.jpg", ["'**' can only be an entire path component"]),
        ("{0}/raw", ["left out 2 .cr2, which cannot be read here; convert them"]),
        ("{0}/raw/*.CR2", ["left out 2 files (a.cr2, b.cr2)", "case"]),
    ],
)
def test_a_source_without_images_is_one_line(source, words, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "raw").mkdir()
    for name in ("raw/a.cr2", "raw/b.cr2"):
        (tmp_path / name).touch()
    for name in ("text.zip", "text.tar"):
        (tmp_path / name).write_text("no archive " * 99)
    noise = np.random.default_rng(0).bytes(5000)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.jpg", noise)
    (tmp_path / "cut.zip").write_bytes(packed.getvalue()[:2000])
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo("a.jpg")
        member.size = len(noise)
        archive.addfile(member, io.BytesIO(noise))
    (tmp_path / "cut.tar.gz").write_bytes(packed.getvalue()[:2000])
    with pytest.raises(UserError) as raised:
        list_source(Images(source=source.format(tmp_path)))
    line = str(raised.value)
    assert line.startswith("images.source ")
    assert "\n" not in line
    assert "; " in line
    for word in words:
        assert word in line


def test_files_are_sorted_by_source(tmp_path):
    for name in ("b/0.bmp", "a/0.bmp", "a.bmp", "a/1.bmp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (2, 2)).save(tmp_path / name)
    found = sources(tmp_path)
    assert found == ["a.bmp", "a/0.bmp", "a/1.bmp", "b/0.bmp"]
    assert all(one < other for one, other in pairwise(found))

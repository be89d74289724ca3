"""Labels of images: from a table, from folders, or none; and what a table must not say."""

import many_images
import pytest
from many_images import NAMES, PICTURES, put

from rosetta.errors import UserError
from rosetta.recipe import Images
from tasks.source.file_list import Files
from tasks.source.image_file import ImageFile
from tasks.source.labels import labelled, labels_of
from tasks.source.recognition import in_order

FILES = Files.of(ImageFile("", name, 1, "") for name in ("cat/0.jpg", "cat/1.jpg", "dog/0.jpg", 'o,w"l.jpg'))


def of_table(folder, text: str | bytes, files=FILES) -> list[str] | None:
    put(f"{folder}/labels.csv", text if isinstance(text, bytes) else text.encode())
    images = Images(source="x", labels=f"{folder}/labels.csv")
    found = labelled(files, images)
    assert found.have_labels
    return labels_of(found, images)


WHOLE = 'source,label\ncat/0.jpg,a\ncat/1.jpg,b\ndog/0.jpg,a\n"o,w""l.jpg",c\n'


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        (WHOLE, ["a", "b", "a", "c"]),
        (b"\xef\xbb\xbf" + WHOLE.replace("\n", "\r\n").encode(), ["a", "b", "a", "c"]),
        ("label,split,source\nx,train,dog/0.jpg\n", ["", "", "x", ""]),
        ("source,label\ncat/1.jpg,\ncat/0.jpg, two words \n", ["two words", "", "", ""]),
        ("source,label\ncat/1.jpg,x\ncat/1.jpg,x\n", ["", "x", "", ""]),
        ("source,label\n", [""] * 4),
        ('source,label\ncat/0.jpg,"a, b"\n', ["a, b", "", "", ""]),
    ],
)
def test_a_table_labels_images(text, labels, tmp_path):
    assert of_table(tmp_path, text) == labels


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("source,label\nbird.jpg,x\n", ["has labels for 'bird.jpg', which images.source does not have", "'cat/0.jpg'"]),
        (
            "source,label\n" + "".join(f"{n}.jpg,x\n" for n in range(1234)),
            ["'0.jpg', '1.jpg', '2.jpg' and 1,231 more", "name images as it does"],
        ),
        ("source,label\ncat/0.jpg,x\ncat/0.jpg,y\n", ["line 3", "gives 'cat/0.jpg' the label 'y', but it had 'x'"]),
        ("file,class\ncat/0.jpg,x\n", ["has no column 'source'"]),
        ("source,class\ncat/0.jpg,x\n", ["has no column 'label'"]),
        ("", ["has no column 'source'"]),
        ("source,label\ncat/0.jpg\n", ["line 2", "not as many values"]),
        ("source,label\no,w,x\n", ["line 2", "not as many values", "quote"]),
        ('source,label\n"cat/0.jpg,x\n', ["cannot be read"]),
        (b"source,label\n\xff\xfe,x\n", ["cannot be read", "utf-8"]),
        (b"\x00\x01", ["labels.csv"]),
    ],
)
def test_a_table_that_is_wrong_is_one_line(text, words, tmp_path):
    with pytest.raises(UserError) as refused:
        of_table(tmp_path, text)
    line = str(refused.value)
    assert line.startswith("images.labels")
    assert "\n" not in line
    for word in words:
        assert word in line


@pytest.mark.parametrize("path", ["foldr", "{0}/none.csv", "nowhere://labels.csv", "{0}"])
def test_a_table_that_is_not_there_is_one_line(path, tmp_path):
    with pytest.raises(UserError, match=r"images\.labels .* cannot be read .*; give 'folder', 'none', or a CSV file"):
        labelled(FILES, Images(source="x", labels=path.format(tmp_path)))


def test_a_table_may_lie_anywhere(tmp_path):
    assert of_table(f"memory://{tmp_path.name}", WHOLE) == ["a", "b", "a", "c"]


@pytest.mark.parametrize("kind", many_images.KINDS)
@pytest.mark.parametrize("labels", [None, "none", "folder", "table"])
def test_labels_of_every_kind(kind, labels, tmp_path):
    for split in ("train", "val"):
        many_images.write(kind, f"{tmp_path}/{split}")
    source = str(tmp_path) if kind == "arrow" else f"{tmp_path}/*/*.{kind.split()[0]}"
    if labels == "table":
        names = [file.source for file in in_order(Images(source=source))]
        put(
            f"{tmp_path}/labels.csv", "\n".join(["source,label", *(f"{name},{name[-6:-4]}" for name in names)]).encode()
        )
    images = Images(source=source, labels=f"{tmp_path}/labels.csv" if labels == "table" else labels)
    files = in_order(images)
    found = labels_of(files, images)
    assert len(files) == 22
    assert files.have_labels == (labels in (None, "table"))
    numbers = [int(file.source[-6:-4]) for file in files]
    own = [str(PICTURES[number].label) if kind == "tar" else NAMES[PICTURES[number].label] for number in numbers]
    assert (
        found
        == {
            None: own,
            "none": None,
            "folder": [file.source.partition("/")[0] for file in files],
            "table": [f"{number:02}" for number in numbers],
        }[labels]
    )


def test_folders_of_a_flat_source_are_refused():
    with pytest.raises(UserError, match=r"images\.labels = 'folder', but no image lies in a folder.*; leave it out"):
        labelled(Files.of([ImageFile("", "0.jpg", 1, "")]), Images(source="x", labels="folder"))


def test_folders_are_those_of_a_file_of_images_and_those_in_it():
    def folder(source: str, within: str = "") -> str:
        return ImageFile("", source, 1, "", within=within).folder

    assert folder("a/b/0.jpg") == "a/b"
    assert folder("0.jpg") == ""
    assert folder("t/0.tar/cat/0.jpg", "t/0.tar") == "t/cat"
    assert folder("t/0.tar/0.jpg", "t/0.tar") == "t"
    assert folder("0.tar/cat/0.jpg", "0.tar") == "cat"
    assert folder("0.tar/0.jpg", "0.tar") == ""

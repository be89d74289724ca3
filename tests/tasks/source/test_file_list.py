"""Columns of images against lists of them, and how much memory a million takes."""

import gc
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.source.file_list import Files
from tasks.source.image_file import ImageFile, RecordBatch, Row, RowGroup, Span

NAMES = st.lists(st.sampled_from(["a", "b.jpg", "ä ö", "c.tar", "\U0001f600", "file://"]), min_size=1, max_size=3)


@st.composite
def image_files(draw: st.DrawFn) -> list[ImageFile]:
    """Files of all kinds, of distinct sources, in any order."""
    sources = draw(st.lists(NAMES.map("/".join), unique=True, max_size=12))
    containers = ["shards/0.tar", "1.parquet", "2.arrow"]
    files = []
    for source in sources:
        size, modified = draw(st.integers(0, 2**40)), draw(st.sampled_from(["", "17", "an ETag"]))
        label = draw(st.sampled_from([None, "", "cat", "dög"]))
        at = draw(st.integers(0, 2**40))
        kind = draw(st.sampled_from(["file", "odd", "zip", "span", "row", "batch"]))
        if kind in ("span", "row", "batch"):
            within = containers[["span", "row", "batch"].index(kind)]
            group = RowGroup("image", at % 3, "1 2") if kind == "row" else RecordBatch("i", (0, 9), at % 3, 9, "1 2")
            part = Span(at) if kind == "span" else Row(group, at)
            files.append(ImageFile(f"s3://b/{within}", f"{within}/{source}", size, modified, part, within, label))
        else:
            url = {"file": f"file:///{source}", "odd": "file:///\udcff", "zip": f"zip://{source}::s3://b/0.zip"}[kind]
            files.append(ImageFile(url, source, size, modified, label=label))
    return files


@given(image_files(), st.data())
def test_columns_are_the_list_that_they_were_made_from(listed, data):
    files = Files.of(listed)
    assert list(files) == listed == [files[at] for at in range(len(listed))]
    assert files == listed
    assert Files.of(iter(listed)) == files
    assert hash(Files.of(listed)) == hash(files)
    assert list(files.names()) == files.sources.to_pylist() == [file.source for file in listed]
    assert list(files.stamps()) == [file.stamp for file in listed]
    assert files.folders() == [file.folder for file in listed]
    assert files.labels() == [file.label or "" for file in listed]
    assert files.have_labels == any(file.label is not None for file in listed)
    assert files.are_whole == all(file.part is None for file in listed)
    assert list(files.take(files.by_source())) == sorted(listed, key=lambda file: file.source)
    assert list(files[1:7:2]) == listed[1:7:2]
    at = data.draw(st.permutations(range(len(listed))))
    some = files.take(np.array(at, np.int64))
    assert list(some) == [listed[index] for index in at]
    assert some.find([*files.names(), "nowhere"]) == [*(at.index(index) for index in range(len(at))), -1]
    assert list(Files.joined([some, files[:2], Files.of(())])) == [*some, *listed[:2]]


@given(image_files())
def test_parts_of_a_file_are_read_as_they_follow_one_another(listed):
    files = Files.of(listed)
    order = files.as_they_lie().tolist()
    assert sorted(order) == list(range(len(listed)))
    for url in {file.url for file in listed if file.part is not None}:
        places = [number for number, at in enumerate(order) if listed[at].url == url]
        positions = [listed[order[place]].position for place in places]
        assert places == list(range(places[0], places[0] + len(places)))
        assert positions == sorted(positions)


def test_other_labels_leave_the_images_as_they_are():
    files = Files.of(ImageFile(f"/{name}", name, 1, "", label="old") for name in "abcd").take(np.array([3, 0, 2]))
    new = files.labelled(np.array([1, 0, 1]), ["", "new"])
    assert [(file.source, file.label) for file in new] == [("d", "new"), ("a", ""), ("c", "new")]
    assert [file.label for file in files.labelled()] == [None] * 3
    assert {file.label for file in files} == {"old"}


def test_what_is_not_there_is_an_index_error():
    files = Files.of([ImageFile("/a", "a", 1, "")])
    assert files[-1] == files[0]
    for index in (1, -2):
        with pytest.raises(IndexError):
            files[index]


@pytest.mark.parametrize("part", [None, Span(123456), Row(RowGroup("image.bytes", 3, "12 34"), 17)])
def test_an_image_takes_few_bytes(part):
    count, within = 50_000, "" if part is None else "train/00000.tar"

    def image(number: int) -> ImageFile:
        source = f"{within}/n01440764/n01440764_{number:08}.JPEG"
        url = f"file:///data/imagenet/{source if part is None else within}"
        return ImageFile(url, source, 110_000 + number, f"{1_700_000_000_000_000_000 + number}", part, within)

    gc.collect()
    tracemalloc.start()
    files = Files.of(map(image, range(count)))
    python_bytes = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    in_all = python_bytes + files._columns.source.nbytes + files._columns.modified.nbytes
    assert in_all / count < 150

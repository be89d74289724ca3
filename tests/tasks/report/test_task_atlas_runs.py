"""The atlas of runs of every kind, and what writing one reads."""

from collections import Counter
from contextlib import contextmanager

import numpy as np
from atlas_files import GRIDS, HOSTILE, IMAGES, finished_run, opened, read

from rosetta.view.atlas.script import json_text
from storage.artifacts import tables
from storage.artifacts.activations import ActivationStore
from storage.artifacts.fingerprint import fingerprint
from storage.artifacts.images import ImageStore
from storage.filesystem.root import Root
from tasks.report.atlas.write import write_atlas
from tasks.stage.progress import tracker


def test_progress_ends_where_it_said(made, tmp_path):
    told = []

    @contextmanager
    def listen(title, total):
        done = []
        yield lambda more, note="": done.append(more)
        told.append((title, total, sum(done)))

    token = tracker.set(listen)
    try:
        write_atlas(opened(made[0]), "a digest", Root(str(tmp_path)))
    finally:
        tracker.reset(token)
    assert [title for title, _, _ in told] == ["maps", "report"]
    assert all(total == done for _, total, done in told)


def test_every_chunk_is_read_once(made, tmp_path, monkeypatch):
    root, _, folder, _ = made
    reads, pixels, opened_run = Counter(), Counter(), opened(root)
    names = {store.digest: name for name, store in opened_run.stores.items()}
    maps, images = ActivationStore.maps, ImageStore.pixels

    def counted(self, layer, span, channels=slice(None)):
        reads[names[self.digest], layer, span.start] += 1
        assert span.start % self.block == 0
        assert span.stop - span.start <= self.block
        return maps(self, layer, span, channels)

    def counted_pixels(self, span):
        pixels[span.start] += 1
        return images(self, span)

    monkeypatch.setattr(ActivationStore, "maps", counted)
    monkeypatch.setattr(ImageStore, "pixels", counted_pixels)
    write_atlas(opened_run, "a digest", Root(str(tmp_path)))
    assert set(reads.values()) == {1}
    layers = {(model, layer) for model, layers in GRIDS.items() for layer in layers}
    assert {(model, layer) for model, layer, _ in reads} == layers, "histograms count every value"
    assert len(reads) == 5 * len(layers)
    assert set(pixels.values()) == {1}
    for path in folder.rglob("*.*"):
        assert (tmp_path / path.relative_to(folder)).read_bytes() == path.read_bytes(), "the same run, the same bytes"


def test_a_run_that_keeps_neighbours_only(made, tmp_path):
    _, _, folder, _ = made
    root = Root(str(tmp_path))
    finished_run(root, "neighbours")
    write_atlas(opened(root), "a digest")
    # Other columns of the tables differ in the last digit: trust is judged from other sums.
    for path in sorted({*folder.rglob("*.js")} - {*(folder / "data" / "table").iterdir()}):
        assert (tmp_path / "report" / path.relative_to(folder)).read_bytes() == path.read_bytes()


def test_a_run_that_found_nothing(tmp_path):
    root = Root(str(tmp_path))
    finished_run(root)
    for table in ("tables/rosetta.parquet", "tables/clusters.parquet"):
        tables.write(root, table, tables.read(root, table).iloc[:0], fingerprint("nothing"))
    run = write_atlas(opened(root), "a digest")
    folder = root.local / "report"
    assert (run["concepts"], run["rosetta"], run["trusted"]) == (0, 0, 0)
    assert json_text(run)
    assert set(map(len, read(folder, "concepts").values())) == {0}
    assert read(folder, "search")["offset"] == [0]
    assert read(folder, "image/3")["maps"] == []
    assert len(read(folder, "unit/0.1")["concept"]) == 9
    assert not (folder / "cards").exists()
    assert not (folder / "data" / "concept").exists()


def test_images_with_a_name_and_a_class(made, tmp_path, monkeypatch):
    root, _, _, _ = made
    names = [f"class {HOSTILE}/{image}.png" for image in range(IMAGES)]
    monkeypatch.setattr(ImageStore, "sources", lambda self: names)
    monkeypatch.setattr(ImageStore, "classes", lambda self, span: np.arange(IMAGES))
    write_atlas(opened(root), "a digest", Root(str(tmp_path)))
    value = read(tmp_path, "image/7")
    assert (value["source"], value["class"]) == (f"class {HOSTILE}/7.png", 7)


def test_a_run_with_more_images_than_are_shown(made, tmp_path, monkeypatch):
    root, _, folder, _ = made
    monkeypatch.setattr(
        "tasks.report.atlas.rankings.choose_images", lambda rankings, images: np.array([3, 20], dtype=np.int32)
    )
    run = write_atlas(opened(root), "a digest", Root(str(tmp_path)))
    assert run["shown"] == [3, 20]
    names = sorted(path.name for path in (tmp_path / "data" / "image").iterdir())
    assert names == ["20.js", "3.js"]
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["20.webp", "3.webp"]
    for path in tmp_path.rglob("*.*"):
        assert path.read_bytes() == (folder / path.relative_to(tmp_path)).read_bytes()

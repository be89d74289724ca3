"""Names from text and from masks, over a run of coloured squares whose units are known."""

import shutil

import coloured_runs
import numpy as np
import pytest
import toy_clip
from PIL import Image

from flows.label import plan_label
from rosetta.errors import UserError
from rosetta.naming.settings import Labelling
from storage.artifacts import tables
from storage.artifacts.catalogue import LABELS, MASKS, ROSETTA
from storage.artifacts.fingerprint import fingerprint
from storage.artifacts.words import WordStore
from storage.filesystem.root import Root
from storage.run.members import RunMembers
from tasks.names import masks, text

COLOURS = list(toy_clip.COLOURS)
PALETTE = [*toy_clip.COLOURS.values(), (120, 120, 120)]


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A run, and which colour is where in its images."""
    folder = tmp_path_factory.mktemp("planted") / "root"
    return folder, coloured_runs.write(folder)


@pytest.fixture
def run(planted, tmp_path):
    """One to write to."""
    shutil.copytree(planted[0], tmp_path / "root")
    return tmp_path / "root"


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """Twenty words, eight of them planted."""
    path = tmp_path_factory.mktemp("words") / "words.txt"
    path.write_text("\n".join(toy_clip.WORDS))
    return str(path)


def opened(run):
    return RunMembers.open(run, needs=())


def named(run, table):
    rows = tables.read(Root(str(run)), table.path())
    return rows[rows["named"] & (rows["rank"] == 1)]


def test_planted_words_are_found_and_no_others(run, words):
    settings = Labelling(text="python:toy_clip:agreeing", weights="random:0", words=words, units=True)
    plan = text.plan_text(str(run), settings)
    text.write_labels(plan)
    rows = tables.read(Root(str(run)), LABELS.path())
    assert rows.groupby(["subject", "model", "unit"]).size().eq(text.TOP).all()
    found = named(run, LABELS)
    of_concepts = found[found["subject"] == "concept"]
    assert of_concepts.set_index("cluster")["label"].to_dict() == dict(enumerate(COLOURS))
    of_units = found[found["subject"] == "unit"]
    assert sorted(of_units["model"].unique()) == ["d", "g"]
    right = [[*COLOURS, "", ""][row.unit] == row.label for row in of_units.itertuples()]
    assert np.mean(right) >= 0.95
    assert len(of_units) >= 0.95 * 16
    store = WordStore.read(Root(str(run)))
    assert store.words == list(toy_clip.WORDS)
    assert store.score.shape == (10, 20)
    best = rows[(rows["subject"] == "concept") & (rows["rank"] == 1)]
    np.testing.assert_allclose(store.score.max(axis=1), best["score"], rtol=1e-6)
    np.testing.assert_allclose(store.null, best["score_null"])
    np.testing.assert_allclose(np.linalg.norm(store.text, axis=1), 1, rtol=1e-5)
    assert opened(run).labels["label"].head(1).tolist() == ["red"]


@pytest.mark.parametrize("seed", range(4))
def test_no_name_is_given_by_towers_that_do_not_agree(run, words, seed):
    settings = Labelling(text="python:toy_clip:unrelated", weights=f"random:{seed}", words=words, units=True)
    text.write_labels(text.plan_text(str(run), settings))
    assert len(named(run, LABELS)) == 0


def test_names_do_not_depend_on_the_batch(run, words):
    contents = []
    for batch in (7, 64):
        settings = Labelling(text="python:toy_clip:agreeing", weights="random:0", words=words, batch=batch)
        text.write_labels(text.plan_text(str(run), settings))
        contents.append(tables.read(Root(str(run)), LABELS.path()))
    assert contents[0]["label"].equals(contents[1]["label"])
    np.testing.assert_allclose(contents[0]["score"], contents[1]["score"], rtol=1e-4)


def test_embeddings_of_words_are_kept(run, words, monkeypatch):
    settings = Labelling(text="python:toy_clip:agreeing", weights="random:0", words=words)
    text.write_labels(text.plan_text(str(run), settings))
    before = tables.read(Root(str(run)), LABELS.path())
    plan = text.plan_text(str(run), settings)
    monkeypatch.setattr(text, "embedded", None)
    text.write_labels(plan)
    assert tables.read(Root(str(run)), LABELS.path()).equals(before)
    other = text.plan_text(str(run), settings.model_copy(update={"weights": "random:1"}))
    with pytest.raises(TypeError, match="not callable"):
        text.write_labels(other)


def test_names_of_another_dictionary_are_not_given(run, words):
    text.write_labels(
        text.plan_text(str(run), Labelling(text="python:toy_clip:agreeing", weights="random:0", words=words))
    )
    assert len(opened(run).labels) == 50
    root, path = Root(str(run)), ROSETTA.path()
    tables.write(root, path, tables.read(root, path).iloc[1:], fingerprint("another"))
    with pytest.raises(UserError, match="names the concepts of an earlier dictionary; run rosetta label on it with"):
        _ = opened(run).labels


def write_masks(folder, where, *, kind="palette", name="{}", legend=None):
    """Masks of which colour is where, and a legend."""
    folder.mkdir()
    for index, image in enumerate(where):
        values = (image % 9).astype(np.uint8)  # 8 where there is none
        if kind == "colours":
            drawn = Image.fromarray(np.array(PALETTE, np.uint8)[values])
        else:
            drawn = Image.fromarray(values, "L")
        if kind == "palette":
            drawn = drawn.convert("P")
            drawn.putdata(values.ravel().tolist())
        drawn.save(folder / f"{name.format(index)}.png")
    shown = ["#{:02x}{:02x}{:02x}".format(*rgb) if kind == "colours" else n for n, rgb in enumerate(PALETTE)]
    lines = [f"{value},{label}" for value, label in zip(shown, [*COLOURS, ""], strict=True)]
    (folder / "legend.csv").write_text(legend or "\n".join(["value,label", *lines]))
    return str(folder)


@pytest.mark.parametrize("kind", ["palette", "grey", "colours", "model"])
def test_detectors_of_labels_are_named(planted, run, tmp_path, kind):
    where = planted[1]
    if kind == "model":
        settings = Labelling(masks="python:toy_clip:segmenter", quantile=0.02)
    else:
        settings = Labelling(masks=write_masks(tmp_path / "masks", where, kind=kind, name="{:04}"), quantile=0.02)
    masks.write_masks(masks.plan_masks(str(run), settings))
    found = named(run, MASKS)
    assert found["unit"].tolist() == [*range(8)] * 2
    assert [COLOURS[unit] for unit in found["unit"]] == found["label"].tolist()
    assert found["strongest"].tolist() == [True] * 8 + [False] * 8
    # By hand, for a unit whose grid is that of the masks: no value between positions plays a part.
    row = found[found["model"] == "g"].iloc[0]
    maps = opened(run).stores["g"].maps("low", slice(None), slice(0, 1))[:, 0]
    values = np.sort(maps.ravel())[::-1]
    assert row["threshold"] == values[int(0.02 * len(values))]
    above, there = maps > row["threshold"], where == 0
    assert row["iou"] == (above & there).sum() / (above | there).sum()
    summary = masks.summary(opened(run))
    assert (summary["named"], summary["units"], summary["named_concepts"]) == (16, 20, 8)
    assert sum(entry["units"] for entry in summary["labels"]) == 16


def test_masks_in_parts_are_the_same(planted, run, tmp_path, monkeypatch):
    settings = Labelling(masks=write_masks(tmp_path / "masks", planted[1]), quantile=0.02)
    masks.write_masks(masks.plan_masks(str(run), settings))
    whole = tables.read(Root(str(run)), MASKS.path())
    monkeypatch.setattr(masks, "_PART", 1 << 40)
    masks.write_masks(masks.plan_masks(str(run), settings))
    assert tables.read(Root(str(run)), MASKS.path()).equals(whole)


def bad_masks(folder, where, change):
    """Masks that are right but for a change."""
    write_masks(folder, where)
    change(folder)
    return str(folder)


def remove(folder):
    (folder / "7.png").unlink()


def add(folder):
    shutil.copy(folder / "7.png", folder / "96.png")


def twice(folder):
    shutil.copy(folder / "7.png", folder / "007.png")


def resize(folder):
    Image.open(folder / "7.png").resize((16, 20)).save(folder / "7.png")


def colour(folder):
    Image.new("RGB", (32, 32)).save(folder / "7.png")


def value(folder):
    Image.new("L", (32, 32), 77).save(folder / "7.png")


def damage(folder):
    content = (folder / "7.png").read_bytes()
    (folder / "7.png").write_bytes(content[: len(content) // 2])


def legend(text):
    return lambda folder: (folder / "legend.csv").write_text(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (remove, "has masks for 95 of 96 images; the first without is image 7"),
        (add, "mask 96.png is of no image of the run; call it as the image's file or index, for example 0"),
        (twice, "masks 007.png and 7.png are of the same image"),
        (resize, "mask 7.png is 20 × 16 and the images of the run are 32 × 32; crop and scale"),
        (colour, r"mask 7.png is in colours \(RGB\) and .*legend.csv has numbers"),
        (value, "mask 7.png has the value 77, which .*legend.csv lacks; add a line"),
        (damage, "mask 7.png is no PNG file .*write it again"),
        (lambda folder: (folder / "legend.csv").unlink(), "has no legend.csv; write one with value,label"),
        (legend("number,label\n1,x"), "has no column 'value'"),
        (legend("value,label\n1,x\n#ff0000,y"), "line 3 mixes numbers and colours"),
        (legend("value,label\n1,x\n1,y"), "line 3 has 1 again"),
        (legend("value,label\n-1,x"), "line 2 has the value '-1'"),
        (legend("value,label\n1,\n"), "names no labels"),
        (legend("value,label\n#ff0000,red"), "has the colour #.*lacks"),
    ],
)
def test_bad_masks_are_one_line(planted, run, tmp_path, change, message):
    settings = Labelling(masks=bad_masks(tmp_path / "masks", planted[1], change), quantile=0.02)
    with pytest.raises(UserError, match=message) as caught:
        masks.write_masks(masks.plan_masks(str(run), settings))
    assert "\n" not in str(caught.value)
    assert not Root(str(run)).exists(MASKS.path())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"text": "python:toy_clip:blind"}, "has no text tower: its module has no encode_image"),
        ({"text": "timm/resnet18"}, "timm/resnet18 has no text tower; name a model of open_clip"),
        ({"text": "python:toy_clip:agreeing", "words": "LONG"}, "cuts off 'pneumo.*and 48 fit; shorten it"),
        ({"text": "python:toy_clip:agreeing", "words": "none.txt"}, "--words none.txt cannot be read"),
        ({"text": "open_clip/ViT-B-23"}, "open_clip has no model 'ViT-B-23'; did you mean"),
        ({"text": "open_clip/ViT-B-32"}, "has no weights of its own; name it with a tag"),
        ({"masks": "nowhere"}, "--masks nowhere: no PNG files are there"),
        ({"masks": "torchvision/deeplab"}, "torchvision has no segmentation model 'deeplab'; did you mean"),
        ({"masks": "python:toy_clip:segmenter", "quantile": 1e-9}, "--quantile 1e-09 leaves no value above"),
        ({"masks": "python:toy_clip:segmenter", "legend": "none.csv"}, "--legend none.csv cannot be read"),
        ({"masks": "python:toy_clip:blind"}, "does not name its classes; give --legend"),
    ],
)
def test_what_cannot_name_is_one_line(run, tmp_path, given, message):
    if given.get("words") == "LONG":
        path = tmp_path / "words.txt"
        path.write_text("\n".join([*toy_clip.WORDS, "pneumonoultramicroscopicsilicovolcanoconiosis" * 2]))
        given = {**given, "words": str(path)}
    if "weights" not in given and given.get("text", "").startswith("python:"):
        given = {**given, "weights": "random:0"}

    def name_anyhow():
        masks.write_masks(plan_label(str(run), Labelling(**given)))

    with pytest.raises(UserError, match=message) as caught:
        name_anyhow()
    assert "\n" not in str(caught.value)


def test_a_run_without_concepts_has_nothing_to_name(tmp_path, words):
    coloured_runs.write(tmp_path / "root", concepts=False)
    for given in ({"text": "python:toy_clip:agreeing", "words": words}, {"masks": "nowhere"}):
        with pytest.raises(UserError, match="has no concepts to name"):
            plan_label(str(tmp_path / "root"), Labelling(**given))
    with pytest.raises(UserError, match="has no names; run rosetta label"):
        _ = opened(tmp_path / "root").labels

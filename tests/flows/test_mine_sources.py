"""Images as people have them, mined by tiny models: what is taken, what is said of the rest, and what is refused."""

import re
import zipfile

import many_images
import numpy as np
import pyarrow.parquet as pq
import pytest
import tinyzoo
import xarray as xr
from command import refused
from many_images import PICTURES, file_of, put, table_of, tar_of
from PIL import Image

from storage.filesystem.root import Root

DRAW = np.random.default_rng(0)


def noise(side: int = 24, channels: int = 3) -> Image.Image:
    return Image.fromarray(DRAW.integers(0, 256, (side, side, channels), dtype=np.uint8))


def recipe_of(folder, source: object, more: str = ""):
    path = folder / "recipe.toml"
    images = f"source = '{source}'\n{more}"
    path.write_text(tinyzoo.recipe_text(folder / "root", ("ada", "bob"), images, count=0))
    return path


@pytest.fixture
def photos(tmp_path):
    """Six images of which one is linked, one transparent and one small; hidden and other files beside them."""
    folder = tmp_path / "photos [2024]"
    (folder / ".ipynb_checkpoints").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    for name in ("a", "b", "c", ".ipynb_checkpoints/a-checkpoint"):
        noise().save(folder / f"{name}.png")
    noise().save(tmp_path / "elsewhere" / "d.jfif", "JPEG")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    Image.new("RGBA", (24, 24), (255, 0, 0, 0)).save(folder / "e.png")
    noise(8).save(folder / "f.avif")
    for name in ("._a.png", "notes.txt", "g.heic"):
        (folder / name).write_text("no image")
    return folder


@pytest.mark.slow
def test_what_is_said_of_a_folder(photos, tiny, tmp_path):
    recipe = recipe_of(tmp_path, photos, 'size = 12\nbackground = "#00ff80"')
    done = tiny("mine", recipe)
    assert done.returncode == 0, done.stderr
    told = done.stderr.splitlines()
    for line in [
        "images.source: left out 2 hidden items and 1 other file",
        "images.source: left out 1 .heic, which cannot be read here; convert them, for example to PNG",
        "images.source: 1 of 6 images is smaller than images.size = 12 and enlarged; with images.size = 8 none"
        " would be",
        "images.source: 1 of 6 images has transparency, shown over images.background = '#00ff80'",
        "images: 12 × 12 pixels are enlarged for ada (16 × 16), bob (16 × 16); images.size = 16 would show them all"
        " that they take",
    ]:
        assert told.count(line) == 1, line
    images = xr.open_zarr(tmp_path / "root/images.zarr")
    names = images["source"].values.tolist()
    assert sorted(names) == ["a.png", "b.png", "c.png", "e.png", "f.avif", "linked/d.jfif"]
    clear = images["pixels"].values[names.index("e.png")]
    np.testing.assert_array_equal(clear, np.broadcast_to((0, 255, 128), clear.shape))
    again = tiny("mine", recipe)
    assert again.returncode == 0, again.stderr
    assert again.stderr == ""
    changed = tiny("mine", recipe, "--set", "images.background=black")
    refused(changed, 'images.background: "#00ff80" → "black"')
    assert tiny("mine", recipe, "--set", "images.max_pixels=999").returncode == 0


@pytest.mark.slow
def test_an_archive_on_another_filesystem(tiny, tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as packed:
        for name in ("x/a.png", "x/b.png", "y/a.png", "y/__MACOSX/._a.png", "y/c.txt"):
            with packed.open(name, "w") as file:
                noise().save(file, "PNG")
    done = tiny("mine", recipe_of(tmp_path, f"zip://**/*.png::simplecache::file://{tmp_path}/photos.zip", "size = 16"))
    assert done.returncode == 0, done.stderr
    assert "images.source: left out 1 hidden item" in done.stderr
    images = xr.open_zarr(tmp_path / "root/images.zarr")
    assert sorted(images["source"].values.tolist()) == ["x/a.png", "x/b.png", "y/a.png"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tar", "arrow"])
def test_files_of_many_images(kind, tiny, tmp_path):
    source = many_images.write(kind, str(tmp_path / "data"))
    recipe = recipe_of(tmp_path, source, "size = 16")
    planned = tiny("mine", recipe, "--plan")
    assert planned.returncode == 0, planned.stderr
    assert re.search(r"^ada .* 11 ", planned.stdout, re.MULTILINE), planned.stdout
    assert not (tmp_path / "root").exists()
    done = tiny("mine", recipe)
    assert done.returncode == 0, done.stderr
    assert "images.source: 11 of 11 images are smaller than images.size = 16 and enlarged" in done.stderr
    images = xr.open_zarr(tmp_path / "root/images.zarr")
    assert sorted(images["source"].values.tolist()) == [
        f"{number // 6}.{kind}/{picture.name}" for number, picture in enumerate(PICTURES)
    ]
    again = tiny("mine", recipe)
    assert (again.returncode, again.stderr) == (0, "")
    assert tiny("check", tmp_path / "root", "--images").returncode == 0
    labels = tmp_path / "labels.csv"
    labels.write_text(f"source,label\n{images['source'].values[0]},new\n")
    changed = tiny("mine", recipe, "--set", f"images.labels={labels}")
    refused(changed, 'images.zarr was made from something else (labels: not given → "table")', "--replace")


DATASETS = {
    "a.tar": file_of("tar", PICTURES)[:4000],
    "empty.tar": tar_of(),
    "no rows.parquet": file_of("parquet", []),
    "text.parquet": b"no table",
    "d/0.arrow": file_of("arrow", PICTURES)[:3000],
    "strangers.csv": b"source,label\nx.png,a\nb.png,c\n",
    "photos/x.png": many_images.bmp(0),
}


@pytest.mark.parametrize(
    ("source", "more", "words"),
    [
        ("a.tar", "", ["a.tar is no tar, damaged or cut short", "copy it again"]),
        ("*.tar", "", ["a.tar is no tar, damaged or cut short"]),
        ("empty.tar", "", ["has no images: there are none in 1 file (empty.tar)", "give a folder or a glob of images"]),
        ("no rows.parquet", "", ["has no images: there are none in 1 file (no rows.parquet)"]),
        ("text.parquet", "", ["text.parquet is no Parquet file, or cut short"]),
        ("no image.parquet", "", ["no image.parquet has no column 'image' (but 'label'); call the one that holds"]),
        ("d", "", ["0.arrow is no Arrow file, or cut short"]),
        ("{0..2}.tar", "", ["0.tar is not there"]),
        (
            "photos",
            'labels = "{0}/strangers.csv"',
            ["images.labels:", "has labels for 'b.png', which images.source does"],
        ),
        ("photos", 'labels = "folder"', ["images.labels = 'folder', but no image lies in a folder"]),
        (
            "photos",
            'labels = "{0}/none.csv"',
            ["images.labels", "No such file", "give 'folder', 'none', or a CSV file"],
        ),
        ("photos", 'labels = ""', ["images.labels: string should have at least 1 character"]),
    ],
)
def test_a_dataset_that_cannot_be_mined_is_one_line(source, more, words, here, tmp_path):
    for name, content in DATASETS.items():
        put(f"{tmp_path}/{name}", content)
    pq.write_table(table_of(PICTURES).select(["label"]), tmp_path / "no image.parquet")
    refused(here("mine", recipe_of(tmp_path, f"{tmp_path}/{source}", more.format(tmp_path))), "images.", *words)
    assert not Root(str(tmp_path / "root")).exists("")


def test_labels_are_for_sources(here, tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(tinyzoo.recipe_text(tmp_path / "root", ("ada", "bob"), 'labels = "folder"', count=0))
    refused(here("mine", path), "images: labels are those of source images; give a source, or leave labels out")


def one_of(kind: str, folder) -> None:
    for number in range(2):
        if kind == "float":
            Image.fromarray(DRAW.random((24, 24), dtype=np.float32)).save(folder / f"{number}.tiff")
        if kind == "large":
            noise().save(folder / f"{number}.png")
        if kind == "no image":
            (folder / f"{number}.png").write_text("no image")


@pytest.mark.parametrize(
    ("kind", "more", "words"),
    [
        (
            "float",
            "",
            ["2 of 2 files cannot be read: 0.tiff, 1.tiff each has", "mode F", "set images.range = [black, white]"],
        ),
        ("large", "max_pixels = 9", ["0.png, 1.png each has 24 × 24 pixels", "raise images.max_pixels"]),
        ("no image", "", ["0.png, 1.png each is not an image", "remove them or narrow the glob"]),
        ("large", 'background = "clear"', ["images.background: 'clear' is not an opaque colour"]),
        ("large", "range = [1, 0]", ["images.range: [1.0, 0.0] is not a range"]),
        ("large", 'backgound = "red"', ["unknown key 'images.backgound'; did you mean 'background'"]),
    ],
)
def test_what_cannot_be_read_is_one_line(kind, more, words, here, tmp_path):
    (tmp_path / "photos").mkdir()
    one_of(kind, tmp_path / "photos")
    refused(here("mine", recipe_of(tmp_path, tmp_path / "photos", more)), *words)
    assert not Root(str(tmp_path / "root")).exists("")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("zip://*.png::{0}/none.zip", ["No such file or directory", "none.zip"]),
        ("zip://*.png::{0}/text.zip", ["File is not a zip file"]),
        ("tar://*.png::{0}/text.zip", ["cannot be listed"]),
        ("nowhere://photos", ["Protocol not known: nowhere"]),
        ("{0}/photos (2024)/*.png", ["No such file or directory"]),
        ("{0}/[x]/*.png", ["write [[] for a bracket that is part of a name"]),
    ],
)
def test_a_source_that_cannot_be_listed_is_one_line(source, words, here, tmp_path):
    (tmp_path / "text.zip").write_text("no archive")
    refused(here("mine", recipe_of(tmp_path, source.format(tmp_path))), "images.source", *words)

"""Images as people have them, mined by tiny models: what is taken, what is said of the rest, and what is refused."""

import zipfile

import numpy as np
import pytest
import tinyzoo
import xarray as xr
from command import refused
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
        "images.source: left out 1 .heic, which cannot be read here; convert them, to PNG say",
        "images.source: 1 of 6 images is smaller than images.size = 12 and enlarged; with images.size = 8 none"
        " would be",
        "images.source: 1 of 6 images has transparency, shown over images.background = '#00ff80'",
        "ada: sees images of 16×16 enlarged from 12×12",
        "bob: sees images of 16×16 enlarged from 12×12",
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

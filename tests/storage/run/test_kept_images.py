"""A run that kept some of its images: whoever names an image names it by its index among all of the run."""

import finished
import numpy as np
import pytest

import storage
from flows.command.export import export
from rosetta.errors import UserError
from rosetta.view.pictures.sheet import print_sheet
from storage.artifacts.images import ImageStore
from storage.filesystem.root import Root
from storage.run.sheets import concept_sheet, dictionary_sheet, strongest_on
from tasks.guided import inputs
from tasks.report.atlas.run import AtlasRun
from tasks.report.atlas.write import write_atlas

SEEN = 200
KEPT = [3, 7, 31, 32, 60, 88, 101, 140, 150, 199]
NOTE = "Pictures and maps are those of the 10 of 200 images that were kept."


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return finished.write(tmp_path_factory.mktemp("kept") / "root", kept=KEPT, seen=SEEN)


@pytest.fixture
def run(place):
    return storage.open_run(place)


@pytest.mark.parametrize(
    ("named", "positions"),
    [
        (31, [2]),
        ([199, 3, 3], [9, 0, 0]),
        (np.array([60, 7]), [4, 1]),
        (slice(None), range(10)),
        (slice(30, 61), [2, 3, 4]),
        (slice(100, None, -1), [5, 4, 3, 2, 1, 0]),
        (slice(-60, None), [7, 8, 9]),
        (slice(8, 30), []),
    ],
)
def test_images_by_their_index_in_the_run(run, named, positions):
    positions = list(positions)
    np.testing.assert_array_equal(run.pixels(named), finished.pixels()[positions])
    maps = run.maps("d", [0, 1], named)
    assert maps["image"].values.tolist() == [KEPT[position] for position in positions]
    np.testing.assert_array_equal(maps, finished.maps_of("d")["early"][positions][:, [0, 1]])
    layer = run.activations("d", images=named)["deep"]
    assert layer["image"].values.tolist() == maps["image"].values.tolist()
    np.testing.assert_array_equal(layer["activation"], finished.maps_of("d")["deep"][positions])


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (0, "image 0 of .* was not kept .*10 of 200.*; the nearest that were are 3 and 7"),
        (100, "was not kept .*; the nearest that were are 88 and 101"),
        (200, "image 200 is not in .*; its images are 0 to 199"),
        (-1, "image -1 is not in"),
    ],
)
def test_an_image_that_is_not_there(run, image, reason):
    for ask in (run.pixels, run.unit("d", 0).maps, lambda image: dictionary_sheet(run, image, None, 1)):
        with pytest.raises(UserError, match=reason):
            ask(image)


def test_rankings_name_them_so(run):
    concept, unit = run.concept(0), run.unit("g", 0)
    assert concept.images.tolist() == unit.top_images.tolist() == KEPT[:3:-1]
    maps = concept.maps("d")
    assert maps["image"].values.tolist() == KEPT[:3:-1]
    np.testing.assert_array_equal(maps, finished.maps_of("d")["early"][9:3:-1, 0])
    for page in (concept._repr_html_(), unit._repr_html_()):
        assert all(f">{image}</span>" in page for image in concept.images)
    page = run._repr_html_()
    assert "200 images" in page
    assert "10 of them kept" in page
    assert f">{KEPT[7]}</span>" in page


def test_figures_name_them_so_and_say_how_many_were_kept(run):
    concept = concept_sheet(run.concept(0), 3)
    assert concept.sheet.rows == ("199", "150", "140")
    dictionary = dictionary_sheet(run, 140, None, 1)
    assert dictionary.image_name == "image 140"
    assert "over image 140" in dictionary.caption
    assert strongest_on(run, 140) == [0]
    for drawn in (concept, dictionary):
        assert "over all 200 images and positions" in drawn.caption
        assert drawn.caption.endswith(NOTE)
        words = " ".join(text.get_text() for text in print_sheet(drawn.sheet, drawn.caption).texts)
        assert " ".join(words.split()).endswith(NOTE)


def test_a_run_that_kept_all_says_nothing_of_it(tmp_path):
    run = storage.open_run(finished.write(tmp_path))
    for drawn in (concept_sheet(run.concept(0), 3), dictionary_sheet(run, 4, None, 1)):
        assert "kept" not in drawn.caption
    assert "of them kept" not in run._repr_html_()


@pytest.mark.parametrize(("text", "expected"), [("3-32,199", [3, 7, 31, 32, 199]), ("140", [140])])
def test_an_export_takes_what_was_kept_of_a_range(place, tmp_path, text, expected, capsys):
    import xarray as xr

    export(str(place), tmp_path / "part.nc", units=("d:0",), images=text)
    tree = xr.open_datatree(tmp_path / "part.nc")
    assert tree["image"].values.tolist() == expected
    positions = [KEPT.index(image) for image in expected]
    np.testing.assert_array_equal(tree["maps/d/early/activation"][:, 0], finished.maps_of("d")["early"][positions, 0])
    np.testing.assert_array_equal(tree["images/pixels"], finished.pixels()[positions])
    assert "of 200 images" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["4", "8-30"])
def test_an_export_of_what_was_not_kept_is_refused(place, tmp_path, text):
    with pytest.raises(UserError, match="was not kept"):
        export(str(place), tmp_path / "part.nc", units=("d:0",), images=text)


@pytest.mark.parametrize(("text", "expected"), [("60", [60]), ("7:33", [7, 31, 32]), ("0:200", KEPT)])
def test_searches_name_them_so(run, text, expected):
    read = inputs.read_inputs(run, None, [text])
    assert read.sources == tuple(f"image {image}" for image in expected)
    np.testing.assert_array_equal(read.pixels, finished.pixels()[[KEPT.index(image) for image in expected]])


@pytest.mark.parametrize(
    ("text", "reason"), [("8:30", "8 of .* was not kept"), ("0:201", "0 to 199"), ("5:5", "is not")]
)
def test_searches_over_what_is_not_there(run, text, reason):
    with pytest.raises(UserError, match=reason):
        inputs.read_inputs(run, None, [text])


def test_the_page_knows_their_indices(place, tmp_path):
    for root, expected in ((place, KEPT), (finished.write(tmp_path), None)):
        run = AtlasRun.open(root)
        known = write_atlas(run, "", Root(str(tmp_path / "report")))
        assert known["indices"] == expected
        assert known["images"] == ImageStore.read(run.root).count

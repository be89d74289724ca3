"""`rosetta report`: the page anew, and figures in print quality."""

import shutil

import pytest
from command import refused
from PIL import Image

from rosetta.errors import UserError
from storage import open_run
from storage.artifacts.catalogue import TRUST
from storage.run.sheets import failing_sheet

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(run, tmp_path_factory):
    """A copy of the small run that may be written to."""
    root = tmp_path_factory.mktemp("report") / "root"
    shutil.copytree(run[0], root)
    return root


def test_a_figure_of_a_concept(place, rosetta, tmp_path):
    printed = rosetta.json("report", place, "--figure", 0, "--images", 2)
    assert printed == {"root": str(place), "path": str(place / "figures/concept-0.png")}
    with Image.open(printed["path"]) as figure:
        assert round(figure.info["dpi"][0]) == 300
        assert min(figure.size) > 500
    told = rosetta("report", place, "--figure", 0, "--out", tmp_path / "deep/figure.pdf")
    assert told.stdout == f"Figure: {tmp_path / 'deep/figure.pdf'}\n", told.stderr
    assert (tmp_path / "deep/figure.pdf").read_bytes().startswith(b"%PDF")


def test_the_dictionary_over_an_image(place, rosetta, tmp_path):
    few, many = tmp_path / "few.png", tmp_path / "many.png"
    rosetta.json("report", place, "--dictionary", 5, "--concepts", "1,0", "--out", few)
    rosetta.json("report", place, "--dictionary", 5, "--count", 4, "--out", many)
    with Image.open(few) as small, Image.open(many) as large:
        assert small.width == pytest.approx(large.width, abs=40)
        assert small.height < large.height


def test_a_match_that_fails_a_test(run, place, rosetta):
    printed = rosetta.json("report", place, "--failing", "lift", "--images", 2)
    assert printed == {"root": str(place), "path": str(place / "figures/failing-lift.png")}
    opened = open_run(place)
    drawn = failing_sheet(opened, "lift", 2)
    assert drawn.sheet.tiles.shape[:2] == (2, 3)
    assert "fails the test “control”: a control does as well (lift" in drawn.caption
    for change, says in (({"lift": 1.0}, "all pass it"), ({"lift": float("nan")}, "it was made of none")):
        changed = open_run(place)
        changed._tables[TRUST.path()] = opened.trust.assign(**change)
        with pytest.raises(UserError, match=f"fails the test 'lift': {says}"):
            failing_sheet(changed, "lift", 2)


def test_the_page_is_written_anew_and_nothing_else(run, place, rosetta):
    page = place / "report/index.html"
    before = page.read_text()
    page.write_text(before.replace("</body>", "spoilt</body>"))
    stale = place / "report/data/concept/9999.js"
    stale.write_text("of a run with more concepts")
    tables = {path: path.stat().st_mtime_ns for path in (place / "tables").rglob("*.parquet")}
    assert rosetta.json("report", place)["path"] == str(page)
    assert not stale.exists()
    assert page.read_text() == before.replace(str(run[0]), str(place)), "the page names its run"
    assert {path: path.stat().st_mtime_ns for path in (place / "tables").rglob("*.parquet")} == tables


def test_what_can_be_wrong_is_one_line(place, here, tmp_path):
    refused(here("report", tmp_path / "nothing"), "holds no run")
    refused(here("report", tmp_path / "nothing", "--figure", 0), "holds no run")
    refused(here("report", place, "--figure", 9999), "concept 9999", "0 to")
    refused(here("report", place, "--figure", "x"), "--figure", "x")
    refused(here("report", place, "--figure", 0, "--out", tmp_path / "figure.gif"), "figure.gif", ".png or .pdf")
    refused(here("report", place, "--figure", 0, "--out", "/proc/nowhere/figure.png"), "cannot be written", "--out")
    refused(here("report", place, "--figure", 0, "--dictionary", 1), "one at a time")
    refused(here("report", place, "--figure", 0, "--failing", "lift"), "--figure and --failing", "one at a time")
    refused(here("report", place, "--failing", "lft"), "no test 'lft'", "'lift'")
    refused(here("report", place, "--figure", 0, "--images", 0), "at least 1")
    refused(here("report", place, "--images", 3), "--images", "--figure")
    refused(here("report", place, "--dictionary", 24), "image 24", "0 to 23")
    refused(here("report", place, "--dictionary", 0, "--concepts", "1;5"), "1;5", "1,5,9")
    refused(here("report", place, "--dictionary", 0, "--concepts", "1", "--count", 3), "--count", "one of the two")
    refused(here("report", place, "--out", tmp_path / "x.png"), "--out", "--figure")
    (tmp_path / "half").mkdir()
    shutil.copy(place / "recipe.toml", tmp_path / "half/recipe.toml")
    refused(here("report", tmp_path / "half"), "is not finished")
    refused(here("report", tmp_path / "half", "--figure", 0), "images.zarr", "rosetta mine first")

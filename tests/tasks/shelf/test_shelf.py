"""A shelf over tiny roots: what it lists, copies and refuses, and what its search finds in a browser."""

import json
import shutil
from pathlib import Path

import finished
import pytest

from flows.command.main import main
from storage.filesystem.root import Root
from tasks.shelf.find import find_roots

EVIL = '<img src=x onerror="window.hacked=1">'


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two runs of one name, one of them with a page; a run, a join, a comparison and a study that are not finished."""
    place = tmp_path_factory.mktemp("lab")
    for name in ("a", "b"):
        finished.write(place / "deep" / name / "spots")
    page = place / "deep/a/spots/report"
    (page / "cards").mkdir(parents=True)
    (page / "index.html").write_text("the atlas")
    (page / "table.parquet").write_text("for programs")
    (page / "secret.html").symlink_to("/etc/hostname")
    begun = place / f"begun {EVIL.replace('/', '')}"
    (begun / "tables").mkdir(parents=True)
    (begun / "recipe.toml").write_text(finished.RECIPE.replace('"spots"', f"'{EVIL}'"))
    (place / "joined/strengths").mkdir(parents=True)
    (place / "joined/join.toml").write_text(
        '[[generators]]\nname = "g"\nrun = "a"\nimages = 4\n[[pivots]]\nname = "d"\ncontrol = false\n'
    )
    (place / "compared/tables").mkdir(parents=True)
    (place / "compared/comparison.toml").write_text(
        '[[runs]]\nname = "a"\n[[runs]]\nname = "b"\n[[models]]\nname = "g"\nanchor = true\nlayers = ["l"]\n'
    )
    (place / "study/runs").mkdir(parents=True)
    (place / "study/study.toml").write_text('name = "sizes"\n[[models]]\nname = "m"\nmodel = "timm/m"\n')
    (place / "recipes").mkdir()
    (place / "recipes/recipe.toml").write_text("no root")
    (place / "link").symlink_to(place / "deep")
    return place


def bytes_of(site: Path) -> dict[str, bytes]:
    return {str(path.relative_to(site)): path.read_bytes() for path in site.rglob("*") if path.is_file()}


def test_what_is_found_listed_and_copied(folder, tmp_path, capsys):
    begun = f"begun {EVIL.replace('/', '')}"
    kinds = {one.path: one.kind for one in find_roots(Root(str(folder)))}
    assert kinds == {
        begun: "run", "deep/a/spots": "run", "deep/b/spots": "run", "joined": "join",
        "compared": "comparison", "study": "study",
    }  # fmt: skip
    site = tmp_path / "site"
    main(["shelf", str(folder), "--out", str(site), "--json"])
    entries = {one["path"]: one for one in json.loads(capsys.readouterr().out)["entries"]}
    assert entries["deep/a/spots"]["page"] == "roots/deep/a/spots/report/index.html"
    assert entries["deep/b/spots"]["command"] == "rosetta report deep/b/spots"
    assert entries["study"]["command"] == "rosetta study study/study.toml"
    assert entries["compared"]["command"] == "rosetta compare RUN RUN --root compared"
    assert entries["compared"]["name"] == "a and b"
    assert entries["joined"]["command"] == "rosetta join RUN RUN --root joined"
    assert entries[begun]["name"] == EVIL
    assert entries[begun]["command"].startswith("rosetta mine 'begun ")
    before = bytes_of(site)
    assert {*before} == {"index.html", "shelf.json", "data/shelf.js", "roots/deep/a/spots/report/index.html"}
    assert not any(str(folder).encode() in content for content in before.values())
    (site / "roots/gone.html").write_text("of a run that is gone")
    main(["shelf", str(folder), "--out", str(site)])
    assert bytes_of(site) == before


def test_links_in_place_of_copies(folder, tmp_path):
    lab = tmp_path / "lab"
    shutil.copytree(folder, lab, symlinks=True)
    main(["shelf", str(lab), "--out", str(lab / "site"), "--link"])
    assert "../deep/a/spots/report/index.html" in (lab / "site/index.html").read_text()
    assert not (lab / "site/roots").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["{lab}/none", "--out", "{site}"], "no such folder"),
        (["{lab}/recipes", "--out", "{site}"], "holds no run, join, comparison or study"),
        (["{lab}", "--out", "{lab}/deep/a/spots/report"], "lies in the root"),
        (["{lab}/joined", "--out", "{lab}/study/site"], "lies in the root"),
        (["{lab}", "--out", "{full}"], "not empty and no shelf"),
        (["{lab}", "--out", "{site}", "--link"], "--link needs --out below"),
        (["{lab}", "--out", "{other}"], "the shelf of another folder"),
    ],
)
def test_bad_input_is_one_line(folder, tmp_path, capsys, words, says):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("mine")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/shelf.json").write_text("{}")
    places = {"lab": folder, **{name: tmp_path / name for name in ("site", "full", "other")}}
    with pytest.raises(SystemExit) as ended:
        main(["shelf", *(word.format(**places) for word in words)])
    told = capsys.readouterr()
    assert ended.value.code == 2
    assert told.err.count("\n") == 1
    assert says in told.err
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize("width", [1440, 390])
def test_the_search_in_a_browser(folder, tmp_path, browser, width):
    main(["shelf", str(folder), "--out", str(tmp_path / "site")])
    page = browser.new_page(viewport={"width": width, "height": 900})
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto((tmp_path / "site/index.html").as_uri())
    assert page.locator(".entry:visible").count() == 6
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.fill("#query", "CONCEPT 0")
    links = page.eval_on_selector_all("#found a", "links => links.map((link) => link.getAttribute('href'))")
    assert links == ["roots/deep/a/spots/report/index.html#/concept/0"]
    assert page.locator("#found li").count() == 2
    assert page.locator(".entry:visible").count() == 2
    page.fill("#query", finished.HOSTILE)
    assert page.inner_text("#count") == "Found 0 concepts, 0 models, 2 layers."
    assert page.inner_text("#found li >> nth=0").startswith(finished.HOSTILE)
    page.fill("#query", "onerror")
    assert page.locator(".entry:visible").count() == 1
    page.reload()
    assert page.input_value("#query") == "onerror"
    assert page.evaluate("window.hacked") is None
    page.close()
    assert complaints == []

"""What is written for people: links lead somewhere, recipes in it are recipes, and the README stays short."""

import re
import tomllib
from pathlib import Path

import pytest
from generated_tables import TABLES, with_tables

from rosetta.recipe import recipe_from
from rosetta.study import parse_study

REPOSITORY = Path(__file__).parents[1]
DOCUMENTS = sorted(
    [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md"), *REPOSITORY.glob("deployments/*.md")], key=str
)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_TOML = re.compile(r"```toml\n(.*?)```", re.DOTALL)


def anchors(document: Path) -> set[str]:
    """Names of headings as a repository's page links to them."""
    headings = _HEADING.findall(document.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_relative_link_leads_to_a_file_and_a_heading(document):
    links = [link for link in _LINK.findall(document.read_text(encoding="utf-8")) if "://" not in link]
    for link in links:
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), link
        assert target.is_relative_to(REPOSITORY), link
        assert not anchor or anchor in anchors(target), link


def test_every_document_of_docs_is_linked_from_the_readme():
    linked = {link.partition("#")[0] for link in _LINK.findall((REPOSITORY / "README.md").read_text(encoding="utf-8"))}
    assert {f"docs/{document.name}" for document in REPOSITORY.glob("docs/*.md")} <= linked


def test_the_readme_is_for_a_newcomer():
    assert len((REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()) <= 130


@pytest.mark.parametrize(
    ("document", "block"),
    [
        pytest.param(document, block, id=f"{document.name}-{number}")
        for document in DOCUMENTS
        for number, block in enumerate(_TOML.findall(document.read_text(encoding="utf-8")))
    ],
)
def test_every_recipe_and_every_part_of_one_is_valid(document, block):
    data = tomllib.loads(block)
    if "study" in data:
        parse_study(block, document.name)
        return
    if "name" in data:
        recipe_from(data, document.name)
        return
    # A part: what it does not show is filled in.
    fill = [{"name": f"other{i}", "model": "timm/resnet18"} for i in range(2)]
    models = [*data.pop("models", []), *fill]
    recipe_from({"name": "part", "root": "runs/part", **data, "models": models}, document.name)


@pytest.mark.parametrize("document", TABLES)
def test_tables_that_follow_from_the_code_are_up_to_date(document):
    text = (REPOSITORY / "docs" / document).read_text(encoding="utf-8")
    assert with_tables(document, text) == text, "run python docs/generated_tables.py"
    assert all(made() in text for made in TABLES[document].values())

"""The page says what there is, escapes what it is told, and asks nobody else for anything."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
from reader import Reader

from rosetta.view.page import Concept, Dictionary, Member, ModelSummary, Neuron, render
from rosetta.view.plots import correlation_histogram, layer_matches

HOSTILE = """x"><script>alert(1)</script>' onload='alert(2) {{ 7*7 }} http://evil.example/a"""


def _neuron(rosetta: int, mean: float, model: str = "lite0", layer: str = "blocks.3") -> Neuron:
    return Neuron(
        rosetta, mean, (Member("dcgan", "main.5", 17, 273, None), Member(model, layer, 88, 412, mean))
    )  # fmt: skip


def _concept(cluster: int, mean: float, size: int = 2, model: str = "lite0", layer: str = "blocks.3") -> Concept:
    neurons = tuple(_neuron(10 * cluster + index, mean - 0.01 * index, model, layer) for index in range(size))
    return Concept(
        cluster, size, mean, mean - 0.01 * (size - 1), neurons, f"pictures/{cluster}.webp",
        ("image", "dcgan", model), 3, (4, 99, 12),
    )  # fmt: skip


def _dictionary(*concepts: Concept, model: str = "lite0", layer: str = "blocks.3") -> Dictionary:
    values = {model: np.array([0.4, 0.7]), "untrained": np.array([0.2, 0.3])}
    return Dictionary(
        name="faces",
        anchor="dcgan",
        images=1024,
        neighbours=5,
        models=(
            ModelSummary("dcgan", "dcgan/digiface", "generator", False, 960, 4, 480, 1300, 3, 0.5),
            ModelSummary(model, "timm/x", "discriminative", False, 2040, 7, 300, 600, 3, 0.61),
            ModelSummary("untrained", "timm/x", "discriminative", True, 2040, 7, 0, 0, 0, math.nan),
        ),
        concepts=concepts,
        rosetta=sum(concept.size for concept in concepts),
        histogram=correlation_histogram(values, {}, frozenset({"untrained"})),
        layer_plots=((f"buddies in {model}", layer_matches(np.ones((1, 1), dtype=int), ["main.5"], [layer], model)),),
        fingerprint="cafe0123",
        command="rosetta mine faces.toml --set images.count=1024",
    )


def test_the_run_at_a_glance() -> None:
    page = Reader(render(_dictionary(_concept(0, 0.7), _concept(1, 0.5, size=1))))
    words = " ".join(page.words.split())
    assert "3 Rosetta neurons in 2 concepts, shared by dcgan and lite0." in words
    assert "1,024" in words
    assert "1 control" in words
    assert "how much chance and architecture alone explain" in words
    assert "rosetta mine faces.toml --set images.count=1024" in words
    assert "cafe0123" in words
    assert "nan" not in words.lower()


def test_one_and_none_read_well() -> None:
    words = " ".join(Reader(render(_dictionary(_concept(0, 0.7, size=1)))).words.split())
    assert "1 Rosetta neuron in 1 concept, shared" in words
    assert "1 neuron " in words


def test_concepts_come_by_number() -> None:
    concepts = [_concept(3, 0.9), _concept(1, math.nan), _concept(0, 0.5), _concept(2, 0.4)]
    cards = Reader(render(_dictionary(*concepts))).all("article", "card")
    assert [card["id"] for card in cards] == ["concept-0", "concept-1", "concept-2", "concept-3"]


def test_pictures_are_lazy_and_sized() -> None:
    page = Reader(render(_dictionary(_concept(0, 0.7), replace(_concept(1, 0.6), picture=""))))
    (picture,) = page.all("img")
    assert picture["src"] == "pictures/0.webp"
    assert picture["loading"] == "lazy"
    assert (picture["width"], picture["height"]) == (str(3 * 96 + 2 * 2), str(3 * 96 + 2 * 2))
    assert picture["alt"]


def test_headers_name_layer_channel_and_correlation_over_their_columns() -> None:
    page = Reader(render(_dictionary(_concept(0, 0.7))))
    heads = page.all("div", "head")
    assert len(heads) == 3
    assert heads[0].get("title") is None
    assert heads[1]["title"] == "dcgan · main.5 · channel 17 · unit 273"
    assert heads[2]["title"] == "lite0 · blocks.3 · channel 88 · unit 412"
    assert len(page.all("div", "anchor")) == 1
    assert "r 0.70" in page.words
    assert "blocks.3:88 0.69" in " ".join(page.words.split())
    for image in ("4", "99", "12"):
        assert {"title": f"image {image}"} in page.all("span")


def test_a_column_without_a_member_and_a_model_called_image() -> None:
    concept = replace(_concept(0, 0.7, model="image"), columns=("image", "dcgan", "image", "untrained"))
    heads = Reader(render(_dictionary(concept, model="image"))).all("div", "head")
    assert [bool(head.get("title")) for head in heads] == [False, True, True, False]


def test_hostile_names_stay_text() -> None:
    concept = _concept(0, 0.7, model=HOSTILE, layer=HOSTILE)
    run = replace(
        _dictionary(concept, model=HOSTILE, layer=HOSTILE), name=HOSTILE, command=HOSTILE, fingerprint=HOSTILE
    )
    html = render(run)
    page, honest = Reader(html), Reader(render(_dictionary(_concept(0, 0.7))))
    assert len(page.all("script")) == len(honest.all("script"))
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert HOSTILE in page.words
    assert any(HOSTILE in (head.get("title") or "") for head in page.all("div", "head"))


@pytest.mark.parametrize("concepts", [(), (_concept(0, 0.7),)])
def test_nothing_comes_from_elsewhere(concepts: tuple[Concept, ...]) -> None:
    html = render(_dictionary(*concepts))
    addresses = set(re.findall(r"https?://[^\"' )<]+", html))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert "@import" not in html
    for _, attributes in Reader(html).elements:
        for name in ("src", "href"):
            value = attributes.get(name) or ""
            assert value.startswith(("#", "data:,", "pictures/")) or not value


def test_an_empty_dictionary_is_friendly() -> None:
    html = render(_dictionary())
    page = Reader(html)
    assert "still empty" in page.words
    assert not page.all("article")
    assert not page.all("form")


def test_without_plots_and_controls() -> None:
    run = _dictionary(_concept(0, 0.7))
    page = Reader(render(replace(run, histogram="", layer_plots=(), models=run.models[:2])))
    assert "no pair to show" in page.words
    assert "untrained" not in page.words
    assert "#layers" not in [link.get("href") for link in page.all("a")]


def test_same_dictionary_same_page() -> None:
    assert render(_dictionary(_concept(0, 0.7))) == render(_dictionary(_concept(0, 0.7)))


def test_plots_go_in_as_they_are() -> None:
    run = _dictionary(_concept(0, 0.7))
    html = render(run)
    assert run.histogram in html
    assert run.layer_plots[0][1] in html


@pytest.mark.parametrize(
    ("value", "written"), [(0.704, "0.70"), (-0.25, "−0.25"), (-0.001, "0.00"), (math.nan, "–"), (1.0, "1.00")]
)
def test_correlations_are_written_with_two_decimals(value: float, written: str) -> None:
    assert f"mean r {written} " in " ".join(Reader(render(_dictionary(_concept(0, value)))).words.split()) + " "


def test_the_slider_reaches_from_the_weakest_to_the_strongest() -> None:
    page = Reader(render(_dictionary(_concept(0, 0.734), _concept(1, 0.512))))
    slider = next(field for field in page.all("input") if field.get("type") == "range")
    assert float(slider["min"] or 9) <= 0.512
    assert float(slider["max"] or 0) >= 0.734

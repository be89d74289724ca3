"""A finished run as one object, against a run of spots at known places."""

import os
import subprocess
import sys
from pathlib import Path

import finished
import numpy as np
import pandas as pd
import pytest

import storage
from rosetta.errors import UserError
from storage.artifacts.catalogue import NULL


@pytest.fixture(scope="module", params=["matrix", "neighbours"])
def place(request, tmp_path_factory) -> Path:
    return finished.write(tmp_path_factory.mktemp("run") / "root", request.param)


@pytest.fixture
def run(place):
    return storage.open_run(place)


@pytest.fixture(scope="module")
def matrix(tmp_path_factory):
    return storage.open_run(str(finished.write(tmp_path_factory.mktemp("run") / "root")))


def test_what_a_run_is(run):
    assert (run.models, run.anchor, run.controls, run.targets) == (("g", "d", "c"), "g", ("c",), ("d",))
    assert run.asked == run.targets, "the former name"
    assert repr(run).startswith("<Run 'spots' at ")
    assert "10 images, 3 models, 8 units, 1 Rosetta neurons in 1 concepts, 1 of the neurons trusted" in repr(run)
    assert run.summary["matched"].to_dict() == {"g": 1, "d": 1, "c": 0}
    assert run.summary["kind"].to_dict() == {"g": "generator", "d": "discriminative", "c": "control"}


def test_tables_and_stores_are_what_lies_there(run, place):
    tables = {"units": run.unit_table, "buddies": run.buddies, "trust": run.trust, "rosetta": run.rosetta,
              "clusters": run.clusters}  # fmt: skip
    for name, table in tables.items():
        stored = pd.read_parquet(place / f"tables/{name}.parquet")
        text = dict.fromkeys(stored.select_dtypes("category"), "str")
        pd.testing.assert_frame_equal(table, stored.astype(text))
    np.testing.assert_array_equal(run.images.pixels, finished.pixels())
    tree = run.activations("d")
    assert set(tree.children) == {"early", "deep"}
    np.testing.assert_array_equal(tree["early"].activation, finished.maps_of("d")["early"])
    assert "moments" not in tree.dataset


def test_pixels_come_in_the_order_asked_for(run):
    for wanted in ([9, 0, 4, 4], 3, slice(2, 7), range(3)):
        expected = finished.pixels()[np.atleast_1d(wanted) if not isinstance(wanted, slice) else wanted]
        np.testing.assert_array_equal(run.pixels(wanted), expected)


def test_correlations_open_either_way_round(matrix):
    there, back = matrix.correlation("g", "d"), matrix.correlation("d", "g")
    np.testing.assert_array_equal(there.pearson, finished.pearson("g", "d"))
    assert back.pearson.dims == ("unit_a", "unit_b")
    np.testing.assert_array_equal(back.pearson, finished.pearson("g", "d").T)
    assert back.layer_a.values.tolist() == there.layer_b.values.tolist() == ["early", "early", "deep"]
    assert (back.attrs["model_a"], back.attrs["model_b"]) == ("d", "g")


def test_concepts_and_their_maps(run):
    concept = run.concept(0)
    assert repr(concept).startswith("<Concept 0 of 'spots': 1 Rosetta neuron, mean correlation 0.")
    assert concept.models == ("g", "d")
    assert concept.members["model"].tolist() == ["g", "d"]
    # Spots are brighter image by image.
    assert concept.images.tolist() == [9, 8, 7, 6, 5, 4]
    maps = concept.maps("d")
    assert (maps.dims, maps.image.values.tolist()) == (("image", "y", "x"), [9, 8, 7, 6, 5, 4])
    np.testing.assert_array_equal(maps, finished.maps_of("d")["early"][concept.images, 0])
    assert maps.attrs == {"model": "d", "layer": "early", "channel": 0, "unit": 0}


def test_what_is_trusted_is_said_the_same_everywhere(run, tmp_path):
    concept = run.concept(0)
    assert (run.judged, run.trusted, concept.trusted, run.neurons["trusted"].tolist()) == (True, 1, 1, [True])
    assert "1 of 1 neuron trusted" in concept._repr_html_()
    assert "1 of them trusted" in run._repr_html_()
    assert "1 neuron, 0 with images exchanged: false discovery rate 0 % (0–" in run._repr_html_()
    # An older table has the verdict of each match on the other rows, and concepts that count nothing.
    old = storage.open_run(finished.write(tmp_path / "old"))
    tables = old.root.local / "tables"
    older = old.rosetta.assign(trusted=old.rosetta["model"] != "g")
    older.drop(columns=["excess", "pearson_held_out"]).to_parquet(tables / "rosetta.parquet")
    (tables / "null.parquet").unlink()
    old.clusters.drop(columns="trusted_neurons").to_parquet(tables / "clusters.parquet")
    again = storage.open_run(tmp_path / "old")
    assert (again.trusted, again.concept(0).trusted) == (0, 0)
    assert "0 of 1 neuron trusted" in again.concept(0)._repr_html_()
    assert "exchanged" not in again._repr_html_(), "it had no null"
    assert again.optional(NULL) is None
    assert NULL not in again.tables
    assert NULL in run.tables
    assert again.rosetta[["excess", "pearson_held_out"]].isna().all(axis=None), "not measured then"
    again.plot.clusters()


def test_units_matched_or_not(run):
    unit = run.unit("d", 2)
    assert repr(unit) == "<Unit 2 of d: deep channel 0>"
    assert (unit.layer, unit.channel, unit.concept) == ("deep", 0, None)
    assert run.unit("g", 0).concept.cluster == 0
    peaks = finished.maps_of("d")["deep"][:, 0].max(axis=(1, 2))
    assert unit.top_images.tolist() == np.argsort(-peaks, kind="stable")[:6].tolist()
    np.testing.assert_array_equal(unit.maps([5, 1, 5]), finished.maps_of("d")["deep"][[5, 1, 5], 0])


@pytest.mark.parametrize(("model", "other"), [("g", "d"), ("d", "g"), ("g", "g"), ("c", "g")])
def test_neighbours_are_the_highest_correlations(run, model, other):
    values = finished.pearson(model, other)
    for unit, row in enumerate(values):
        if model == other:
            row = np.where(np.arange(len(row)) == unit, -np.inf, row)
        expected = np.argsort(-row, kind="stable")[:2]
        found = run.unit(model, unit).neighbours(other)
        assert found["unit"].tolist() == expected.tolist()
        assert found["rank"].tolist() == [1, 2]
        np.testing.assert_allclose(found["pearson"], row[expected], rtol=1e-6)
        buddies = {("g", "d"), ("d", "g")}
        assert found["mutual"].tolist() == [(model, other) in buddies and unit == 0 == near for near in expected]


def test_neighbours_in_every_model_it_was_correlated_with(run):
    assert run.unit("g", 1).neighbours()["model"].drop_duplicates().tolist() == ["g", "d", "c"]
    assert run.unit("d", 1).neighbours(count=1)["model"].tolist() == ["g"]


def test_html_escapes_names_and_brings_its_pictures(run):
    for shown in (run, run.concept(0), run.unit("g", 0)):
        html = shown._repr_html_()
        assert "<script" not in html
        assert "data:image/webp;base64," in html
        assert "http" not in html
    assert "&lt;script&gt;" in run.concept(0)._repr_html_()
    assert run.unit("g", 0)._repr_html_().count("✓ mutual") == 1


def test_plots_have_labelled_axes_and_take_axes(matrix):
    from matplotlib.figure import Figure

    plot = matrix.plot
    calls = [
        lambda ax: plot.correlations(ax=ax), lambda ax: plot.correlations("d", ax=ax), lambda ax: plot.layers("d", ax),
        lambda ax: plot.depth(ax=ax), lambda ax: plot.depth("d", ax=ax), lambda ax: plot.clusters(ax),
        lambda ax: plot.scatter(0, "d", ax=ax),
    ]  # fmt: skip
    for call in calls:
        ax = Figure().subplots()
        assert call(ax) is ax
        assert ax.get_xlabel()
        assert ax.get_ylabel()
        ax.figure.draw_without_rendering()
    ax = plot.concept(0, 3, ax=Figure().subplots())
    assert [label.get_text() for label in ax.get_yticklabels()] == ["9", "8", "7"]
    ax = plot.dictionary(4, ax=Figure().subplots())
    assert [label.get_text().split("\n")[0] for label in ax.get_xticklabels()] == ["g", "d"]


def test_the_scatter_shows_the_correlation_of_the_tables(matrix):
    from matplotlib.figure import Figure

    ax = matrix.plot.scatter(0, "d", ax=Figure().subplots())
    (line,) = (text.get_text() for text in ax.get_legend().get_texts())
    assert line.endswith(f"r {matrix.concept(0).pearson('d'):.2f}")


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda run: run.concept(7), ("concept 7", "0 to 0")),
        (lambda run: run.unit("d", 3), ("d has no unit 3", "0 to 2")),
        (lambda run: run.unit("d", -1), ("d has no unit -1",)),
        (lambda run: run.unit("e", 0), ("model 'e'", "g, d, c")),
        (lambda run: run.activations("dd"), ("did you mean 'd'",)),
        (lambda run: run.correlation("d", "c"), ("not correlated", "matching.pairs")),
        (lambda run: run.concept(0).maps("c"), ("c has no part in concept 0",)),
        (lambda run: run.unit("d", 0).maps(10), ("image 10", "0 to 9")),
        (lambda run: run.plot.layers("g"), ("g is the anchor",)),
        (lambda run: run.plot.concept(0, images=0), ("0 images",)),
    ],
)
def test_what_is_not_there_is_one_line(run, ask, words):
    with pytest.raises(UserError) as told:
        ask(run)
    assert "\n" not in str(told.value)
    for word in words:
        assert word in str(told.value)


def test_no_run_and_one_that_is_not_finished(tmp_path):
    with pytest.raises(UserError, match="holds no run"):
        storage.open_run(tmp_path / "none")
    place = finished.write(tmp_path / "root")
    (place / "tables/trust.parquet").unlink()
    with pytest.raises(UserError, match=r"trust\.parquet .* rosetta mine first"):
        storage.open_run(place)
    (place / "activations/d.zarr/zarr.json").unlink()
    with pytest.raises(UserError, match=r"activations/d\.zarr .* rosetta mine first"):
        storage.open_run(place)


def test_opening_a_run_loads_neither_torch_nor_matplotlib(place):
    asked = (
        "import sys, storage; run = storage.open_run(sys.argv[1]); repr(run); run.concept(0).maps('d'); "
        "run.unit('d', 0).neighbours(); run.correlation('d', 'g'); "
        "print([name for name in ('torch', 'matplotlib', 'prefect') if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(
        [sys.executable, "-c", asked, str(place)], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"

"""The atlas of a run with known maps says what the run holds."""

import json
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from atlas_files import (
    GRIDS,
    HOSTILE,
    IMAGES,
    MODELS,
    STORES,
    layers_of,
    opened,
    read,
    unit_of,
)

from rosetta.view.atlas.script import json_text
from storage.artifacts import catalogue, tables
from storage.artifacts.correlations import CorrelationStore
from storage.filesystem.root import Root
from tasks.report.atlas.write import write_atlas


def test_what_is_written(made):
    root, _, folder, run = made
    assert run["concepts"] == len(tables.read(root, catalogue.CLUSTERS.path())) > 3
    assert run["rosetta"] == tables.read(root, catalogue.ROSETTA.path())["rosetta"].nunique()
    assert [model["name"] for model in run["models"]] == MODELS
    assert [layer["name"] for layer in run["models"][1]["layers"]] == [HOSTILE, "b"]
    assert run["models"][0]["layers"][1] == {
        "name": "fine",
        "channels": 9,
        "first": 9,
        "grid_y": 40,
        "grid_x": 24,
        "per_file": run["models"][0]["layers"][1]["per_file"],
    }
    assert run["shown"] == list(range(IMAGES))
    assert all(layer["per_file"] >= 1 for model in run["models"] for layer in model["layers"])
    files = {str(path.relative_to(folder)) for path in folder.rglob("*.*")}
    expected = {f"data/{name}.js" for name in ("concepts", "search", "plots", "classes", "explained")}
    expected |= {"images/0.webp", "cards/0.webp"}
    expected |= {f"data/table/{table}.js" for table in run["tables"]}
    expected |= {f"pictures/{image}.webp" for image in range(IMAGES)}
    expected |= {f"data/concept/{concept}.js" for concept in range(run["concepts"])}
    expected |= {f"data/image/{image}.js" for image in range(IMAGES)}
    expected |= {
        f"data/unit/{model}.{layer}.js" for model, name in enumerate(MODELS) for layer in range(len(GRIDS[name]))
    }
    expected |= {
        f"data/unit/{number}.{place}.{file}.js"
        for number, model in enumerate(run["models"])
        for place, layer in enumerate(model["layers"])
        for file in range(-(-layer["channels"] // layer["per_file"]))
    }
    expected |= {f"thumbs/{image}.webp" for image in range(IMAGES)}
    assert files == expected


def test_neurons_and_buddies_are_those_of_the_tables(made):
    root, _, folder, run = made
    rosetta, buddies = tables.read(root, catalogue.ROSETTA.path()), tables.read(root, catalogue.BUDDIES.path())
    seen = 0
    for concept in range(run["concepts"]):
        value = read(folder, f"concept/{concept}")
        rows = rosetta[rosetta["cluster"] == concept]
        assert [neuron["rosetta"] for neuron in value["neurons"]] == sorted(rows["rosetta"].unique())
        anchors = [neuron["members"][0]["unit"] for neuron in value["neurons"]]
        mine = buddies[(buddies["model_a"] == "g") & buddies["unit_a"].isin(anchors)]
        expected = {
            (MODELS.index(row.model_b), row.unit_b, row.unit_a): (row.rank_ab, row.rank_ba) for row in mine.itertuples()
        }
        found = {(model, unit, anchor): (ab, ba) for model, unit, _, ab, ba, anchor in value["buddies"]}
        for neuron, anchor in zip(value["neurons"], anchors, strict=True):
            assert neuron["members"][0]["model"] == 0
            assert neuron["members"][0]["rank_ab"] is None
            for member in neuron["members"][1:]:
                found[member["model"], member["unit"], anchor] = (member["rank_ab"], member["rank_ba"])
                seen += 1
        assert found == expected
    assert seen == (rosetta["model"] != "g").sum()


def test_search_lists_every_neuron(made):
    root, _, folder, run = made
    search, rosetta = read(folder, "search"), tables.read(root, catalogue.ROSETTA.path())
    units = np.array(search["unit"]).reshape(-1, len(MODELS))
    assert search["offset"][-1] == len(search["rosetta"]) == run["rosetta"]
    for concept in range(run["concepts"]):
        for row in range(*search["offset"][concept : concept + 2]):
            rows = rosetta[rosetta["rosetta"] == search["rosetta"][row]].set_index("model")
            assert set(rows["cluster"]) == {concept}
            assert units[row].tolist() == [int(rows["unit"].get(name, -1)) for name in MODELS]


def test_units_their_neighbours_and_who_has_them_too(made):
    root, maps, folder, run = made
    matrices = {("g", other): CorrelationStore.read(root, "g", other).pearson() for other in MODELS}
    matrices |= {(b, a): matrix.T for (a, b), matrix in matrices.items() if a != b}

    def nearest(a: str, b: str, unit: int) -> list[int]:
        values = np.where(np.isnan(matrices[a, b][unit]), -np.inf, matrices[a, b][unit])
        if a == b:
            values[unit] = -np.inf
        return [int(other) for other in np.argsort(-values, kind="stable")[:2] if values[other] > -np.inf]

    for place, model in enumerate(MODELS):
        for layer, (first, values) in enumerate(layers_of(maps[model])):
            value = read(folder, f"unit/{place}.{layer}")
            assert value["first"] == first
            for channel in range(values.shape[1]):
                unit, peaks = first + channel, values[:, channel].max(axis=(1, 2))
                one = unit_of(folder, run, place, layer, channel)
                assert one["images"][:8] == np.argsort(-peaks, kind="stable")[:8].tolist()
                assert value["maximum"][channel] == one["maximum"] == pytest.approx(float(peaks.max()), rel=1e-3)
                assert list(one["near"]) == [str(MODELS.index(other)) for other in STORES[model]]
                for other in STORES[model]:
                    expected = [
                        (near, int(unit in nearest(other, model, near))) for near in nearest(model, other, unit)
                    ]
                    found = one["near"][str(MODELS.index(other))]
                    assert [(near, mutual) for near, _, mutual in found] == expected
                    for near, pearson, _ in found:
                        assert pearson == pytest.approx(matrices[model, other][unit, near], rel=1e-3)


def test_units_know_their_concept(made):
    root, maps, folder, _ = made
    rosetta = tables.read(root, catalogue.ROSETTA.path())
    for place, model in enumerate(MODELS):
        found = [c for layer in range(len(maps[model])) for c in read(folder, f"unit/{place}.{layer}")["concept"]]
        mine = rosetta[rosetta["model"] == model].groupby("unit")["cluster"].min()
        assert found == [int(mine.get(unit, -1)) for unit in range(len(found))]


def test_concepts_and_their_neighbours(made):
    root, _, folder, run = made
    clusters, matrix = tables.read(root, catalogue.CLUSTERS.path()), CorrelationStore.read(root, "g", "g").pearson()
    value = read(folder, "concepts")
    assert value["size"] == clusters["size"].tolist()
    assert value["mean"] == pytest.approx(clusters["mean_pearson"].tolist(), rel=1e-3)
    assert value["layer"] == [int(unit >= 9) for unit in clusters["anchor_unit"]]
    assert value["depth"] == value["layer"]
    best = clusters["anchor_unit"].to_numpy()
    for concept in range(run["concepts"]):
        values = matrix[best[concept], best].copy()
        values[concept] = -np.inf
        near = read(folder, f"concept/{concept}")["near"]
        assert [other for other, _ in near] == np.argsort(-values, kind="stable")[: len(best) - 1][:6].tolist()
        assert value["image"][concept] == read(folder, f"concept/{concept}")["rankings"]["activation"][0]


def test_tables_are_the_parquet_files(made):
    root, _, folder, run = made
    assert run["tables"] == [table.name for table in catalogue.tables_of_run()]
    value = {table: read(folder, f"table/{table}") for table in run["tables"]}
    for table, columns in value.items():
        frame = tables.read(root, f"tables/{table}.parquet")
        pd.testing.assert_frame_equal(
            pd.DataFrame(columns).astype(frame.dtypes.to_dict()), frame, check_exact=False, rtol=1e-6, atol=0
        )
    assert any(None in values for values in value["rosetta"].values()), "the anchor's own rows have no correlation"


def test_the_strongest_are_those_with_a_trusted_neuron_and_then_the_highest_mean(made):
    _, _, folder, run = made
    concepts, strongest = read(folder, "concepts"), run["strongest"]
    order = sorted(range(run["concepts"]), key=lambda one: (not concepts["trusted"][one], -concepts["mean"][one], one))
    assert strongest == {name: [values[one] for one in order[:12]] for name, values in concepts.items()}


def test_plots(made):
    root, _, folder, _ = made
    plots = read(folder, "plots")
    for plot in plots:
        assert ElementTree.fromstring(plot["svg"]).tag == "{http://www.w3.org/2000/svg}svg"
    told = {plot["title"]: " ".join(ElementTree.fromstring(plot["svg"]).itertext()).split() for plot in plots}
    assert list(told) == [
        "How strong the matches are", "How deep they lie", "How large the concepts are", "How selective the units are",
        "Where they lie: g × d", "Where they lie: g × e", "Where they lie: g × untrained",
    ]  # fmt: skip
    assert "(control)" in told["How strong the matches are"]
    assert {"(anchor)", "(control)", "depth"} <= set(told["How deep they lie"])
    buddies = tables.read(root, catalogue.BUDDIES.path())
    rows = buddies[(buddies["model_a"] == "g") & (buddies["model_b"] == "e")]
    for (layer, other), held in rows.groupby(["layer_a", "layer_b"]):
        assert {str(len(held)), layer, other} <= set(told["Where they lie: g × e"])
    assert f"{len(rows)} buddies, layer by layer." == plots[5]["caption"]


def test_what_is_plotted(made, tmp_path, monkeypatch):
    root, _, _, _ = made
    asked = {}
    for name in ("correlation_histogram", "correlation_over_depth", "selectivity_plot"):
        monkeypatch.setattr(
            f"tasks.report.atlas.plots.{name}", lambda *args, name=name: asked.setdefault(name, args) and ""
        )
    write_atlas(opened(root), "a digest", Root(str(tmp_path)))
    matrices = {other: CorrelationStore.read(root, "g", other).pearson() for other in ("d", "e", "untrained")}
    buddies, units = tables.read(root, catalogue.BUDDIES.path()), tables.read(root, catalogue.UNITS.path())

    def best(matrix: np.ndarray, axis: int) -> np.ndarray:
        high = np.where(np.isnan(matrix), -np.inf, matrix).max(axis=axis)
        return np.where(high == -np.inf, np.nan, high)

    highest, matched, controls = asked["correlation_histogram"]
    assert controls == ("untrained",)
    for other, matrix in matrices.items():
        np.testing.assert_array_equal(highest[other], best(matrix, 1))
        rows = buddies[(buddies["model_a"] == "g") & (buddies["model_b"] == other)]
        assert matched[other].tolist() == rows["pearson"].tolist()

    by_layer, controls, anchor = asked["correlation_over_depth"]
    assert (list(by_layer), controls, anchor) == (["g", "d", "e", "untrained"], ("untrained",), "g")
    for other, matrix in matrices.items():
        np.testing.assert_array_equal(np.concatenate(by_layer[other]), best(matrix, 0))
        assert len(by_layer[other]) == len(GRIDS[other])
    np.testing.assert_array_equal(
        np.concatenate(by_layer["g"]), np.fmax(best(matrices["d"], 1), best(matrices["e"], 1))
    )

    inside, outside = asked["selectivity_plot"]
    rosetta = tables.read(root, catalogue.ROSETTA.path())
    for model in ("g", "d", "e"):
        rows = units[units["model"] == model]
        held = rows["unit"].isin(rosetta.loc[rosetta["model"] == model, "unit"])
        for of, expected in ((inside, rows[held]), (outside, rows[~held])):
            np.testing.assert_array_equal(of[model][0], expected["kurtosis"])
            np.testing.assert_array_equal(of[model][1], expected["half_share"])
    assert "untrained" not in inside


def test_nothing_that_is_written_can_end_a_script(made):
    _, _, folder, run = made
    for path in folder.rglob("*.js"):
        content = path.read_bytes()
        assert content.isascii()
        assert not {b"<", b">", b"&"} & {bytes([letter]) for letter in content}
    assert HOSTILE in json.loads(json_text(run))["models"][1]["layers"][0]["name"]

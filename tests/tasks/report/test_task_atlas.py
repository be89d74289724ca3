"""The atlas of a run with known maps says what the run holds."""

import json
from collections import Counter
from contextlib import contextmanager
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from atlas_files import GRIDS, HOSTILE, IMAGES, RECIPE, decoded, finished_run, peaks_of, read
from PIL import Image

from rosetta.view.atlas.script import json_text
from storage.artifacts import catalogue, tables
from storage.artifacts.activations import ActivationStore
from storage.artifacts.correlations import CorrelationStore
from storage.artifacts.fingerprint import fingerprint
from storage.artifacts.images import ImageStore
from storage.artifacts.layout import open_complete
from storage.filesystem.root import Root
from tasks.report.atlas.run import AtlasRun
from tasks.report.atlas.write import write_atlas
from tasks.stage.progress import tracker

MODELS = list(GRIDS)
STORES = {"g": ["g", "d", "e", "untrained"], "d": ["g"], "e": ["g"], "untrained": ["g"]}


def opened(root: Root) -> AtlasRun:
    return AtlasRun.of(root, RECIPE)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The run's root, its maps, the atlas's folder and what the shell gets."""
    root = Root(str(tmp_path_factory.mktemp("run")))
    maps = finished_run(root)
    run = write_atlas(opened(root), "a digest")
    return root, maps, root.local / "report", run


def unit_map(maps, model: int, unit: int, image: int) -> np.ndarray:
    layers = _layers(maps[MODELS[model]])
    return next(values[image, unit - first] for first, values in layers if first <= unit < first + values.shape[1])


def _layers(layers):
    first = 0
    for values in layers.values():
        yield first, values
        first += values.shape[1]


def scale(root: Root, model: int, unit: int) -> tuple[float, float]:
    frame = tables.read(root, catalogue.UNITS.path())
    row = frame[(frame["model"] == MODELS[model]) & (frame["unit"] == unit)].iloc[0]
    return float(row["mean"]), float(row["maximum"])


def expected_bytes(root: Root, maps, model: int, unit: int, image: int, most: int) -> np.ndarray:
    low, high = scale(root, model, unit)
    small = peaks_of(unit_map(maps, model, unit, image).astype(np.float64), most)
    return np.clip((small - low) / (high - low), 0, 1) * 255


def test_what_is_written(made):
    root, _, folder, run = made
    assert run["concepts"] == len(tables.read(root, catalogue.CLUSTERS.path())) > 3
    assert run["rosetta"] == tables.read(root, catalogue.ROSETTA.path())["rosetta"].nunique()
    assert [model["name"] for model in run["models"]] == MODELS
    assert [layer["name"] for layer in run["models"][1]["layers"]] == [HOSTILE, "b"]
    assert run["models"][0]["layers"][1] == {"name": "fine", "channels": 9, "first": 9, "grid_y": 40, "grid_x": 24}
    assert run["shown"] == list(range(IMAGES))
    files = {str(path.relative_to(folder)) for path in folder.rglob("*.*")}
    expected = {"data/concepts.js", "data/search.js", "data/plots.js", "images/0.webp", "cards/0.webp"}
    expected |= {f"data/table/{table}.js" for table in run["tables"]}
    expected |= {f"pictures/{image}.webp" for image in range(IMAGES)}
    expected |= {f"data/concept/{concept}.js" for concept in range(run["concepts"])}
    expected |= {f"data/image/{image}.js" for image in range(IMAGES)}
    expected |= {
        f"data/unit/{model}.{layer}.js" for model, name in enumerate(MODELS) for layer in range(len(GRIDS[name]))
    }
    assert files == expected


def test_maps_of_a_concept_are_where_the_run_has_them(made):
    root, maps, folder, run = made
    sizes = set()
    for concept in range(run["concepts"]):
        value = read(folder, f"concept/{concept}")
        members = {member["model"]: member["unit"] for member in value["neurons"][0]["members"]}
        ranked = {*value["rankings"]["activation"], *value["rankings"]["agreement"]}
        assert {int(key) for key in value["maps"] if key.isdigit()} == ranked
        for image in ranked:
            for model in range(len(MODELS)):
                text, grid = value["maps"][str(image)][model], value["maps"]["grid"][model]
                if model not in members:
                    assert text is None
                    assert grid is None
                    continue
                sizes.add(tuple(grid))
                expected = expected_bytes(root, maps, model, members[model], image, 32)
                np.testing.assert_allclose(decoded(text, grid), expected, atol=0.51)
                assert np.array(scale(root, model, members[model])) == pytest.approx(
                    [value["maps"]["low"][model], value["maps"]["high"][model]], rel=1e-3
                )
    assert {(4, 4), (7, 9), (12, 12), (32, 20), (32, 24)} <= sizes


def test_maps_of_an_image(made):
    root, maps, folder, run = made
    units = read(folder, "concepts")["unit"]
    for image in (0, 13, IMAGES - 1):
        value = read(folder, f"image/{image}")
        assert sorted(value["concept"]) == list(range(run["concepts"]))
        assert value["strength"] == sorted(value["strength"], reverse=True)
        for concept, strength, grid, text in zip(
            *(value[k] for k in ("concept", "strength", "grid", "maps")), strict=True
        ):
            low, high = scale(root, 0, units[concept])
            peak = unit_map(maps, 0, units[concept], image).max()
            assert strength == pytest.approx(np.clip((peak - low) / (high - low), 0, 1), abs=1e-3)
            expected = expected_bytes(root, maps, 0, units[concept], image, 32)
            np.testing.assert_allclose(decoded(text, grid), expected, atol=0.51)
        assert (value["source"], value["class"]) == (None, None)


def test_rankings_of_a_concept(made):
    _, maps, folder, run = made
    for concept in range(run["concepts"]):
        value = read(folder, f"concept/{concept}")
        peaks = np.array(
            [
                [unit_map(maps, member["model"], member["unit"], image).max() for image in range(IMAGES)]
                for member in value["neurons"][0]["members"]
            ]
        )
        assert value["rankings"]["activation"] == np.argsort(-peaks[0], kind="stable")[:8].tolist()
        lower = (peaks[:, None, :] < peaks[:, :, None]).mean(axis=2)
        agreement = np.round(lower.mean(axis=0), 6)
        best = value["rankings"]["agreement"]
        assert agreement[best].tolist() == sorted(agreement, reverse=True)[:8]


def test_scatter_samples_both_units_at_the_same_places(made):
    _, _, folder, run = made
    for concept in range(run["concepts"]):
        value = read(folder, f"concept/{concept}")
        members = value["neurons"][0]["members"]
        assert list(value["scatter"]) == [str(member["model"]) for member in members[1:]]
        for member in members[1:]:
            pairs = np.array(value["scatter"][str(member["model"])])
            assert np.corrcoef(pairs.T)[0, 1] == pytest.approx(member["pearson"], abs=0.25)


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
    root, maps, folder, _ = made
    matrices = {("g", other): CorrelationStore.read(root, "g", other).pearson() for other in MODELS}
    matrices |= {(b, a): matrix.T for (a, b), matrix in matrices.items() if a != b}

    def nearest(a: str, b: str, unit: int) -> list[int]:
        values = np.where(np.isnan(matrices[a, b][unit]), -np.inf, matrices[a, b][unit])
        if a == b:
            values[unit] = -np.inf
        return [int(other) for other in np.argsort(-values, kind="stable")[:2] if values[other] > -np.inf]

    for place, model in enumerate(MODELS):
        for layer, (first, values) in enumerate(_layers(maps[model])):
            value = read(folder, f"unit/{place}.{layer}")
            assert value["first"] == first
            assert list(value["near"]) == [str(MODELS.index(other)) for other in STORES[model]]
            for channel in range(values.shape[1]):
                unit, peaks = first + channel, values[:, channel].max(axis=(1, 2))
                assert value["top"][channel] == np.argsort(-peaks, kind="stable")[:8].tolist()
                assert value["maximum"][channel] == pytest.approx(float(peaks.max()), rel=1e-3)
                for other in STORES[model]:
                    expected = [
                        (near, int(unit in nearest(other, model, near))) for near in nearest(model, other, unit)
                    ]
                    found = value["near"][str(MODELS.index(other))][channel]
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
    assert run["tables"] == ["buddies", "trust", "units", "rosetta", "clusters"]
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
    assert controls == {"untrained"}
    for other, matrix in matrices.items():
        np.testing.assert_array_equal(highest[other], best(matrix, 1))
        rows = buddies[(buddies["model_a"] == "g") & (buddies["model_b"] == other)]
        assert matched[other].tolist() == rows["pearson"].tolist()

    by_layer, controls, anchor = asked["correlation_over_depth"]
    assert (list(by_layer), controls, anchor) == (["g", "d", "e", "untrained"], {"untrained"}, "g")
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


def test_progress_ends_where_it_said(made, tmp_path):
    told = []

    @contextmanager
    def listen(title, total):
        done = []
        yield lambda more, note="": done.append(more)
        told.append((title, total, sum(done)))

    token = tracker.set(listen)
    try:
        write_atlas(opened(made[0]), "a digest", Root(str(tmp_path)))
    finally:
        tracker.reset(token)
    assert [title for title, _, _ in told] == ["maps", "report"]
    assert all(total == done for _, total, done in told)


def test_maps_are_coarser_where_there_is_no_room(made, tmp_path, monkeypatch):
    root, maps, _, _ = made
    monkeypatch.setattr("rosetta.view.atlas.maps.ROOM", 1000)
    write_atlas(opened(root), "a digest", Root(str(tmp_path)))
    value = read(tmp_path, "concept/0")
    unit, image = value["neurons"][0]["members"][0]["unit"], value["rankings"]["activation"][0]
    grid = value["maps"]["grid"][0]
    assert max(grid) <= 16
    found = decoded(value["maps"][str(image)][0], grid)
    np.testing.assert_allclose(found, expected_bytes(root, maps, 0, unit, image, 16), atol=0.51)


def test_pictures(made):
    root, maps, folder, run = made
    thumbs = np.asarray(Image.open(folder / "images" / "0.webp").convert("RGB"), dtype=float)
    assert thumbs.shape == (1024, 1024, 3)
    pixels = ImageStore(open_complete(root, catalogue.IMAGES.path())).pixels(slice(0, 12))
    expected = np.asarray(Image.fromarray(pixels[11]).resize((128, 128), Image.Resampling.BICUBIC), dtype=float)
    assert np.abs(thumbs[128:256, 3 * 128 : 4 * 128] - expected).mean() < 12
    alone = np.asarray(Image.open(folder / "pictures" / "11.webp").convert("RGB"), dtype=float)
    assert alone.shape == pixels[11].shape
    assert np.abs(alone - pixels[11]).mean() < 12
    cards = np.asarray(Image.open(folder / "cards" / "0.webp").convert("RGB"), dtype=float)
    concepts = read(folder, "concepts")
    for concept in range(run["concepts"]):
        # Where the map is highest the card is the hottest colour, a pale yellow, whatever the image.
        y, x = divmod(concept, 8)
        card = cards[y * 128 : y * 128 + 128, x * 128 : x * 128 + 128]
        values = unit_map(maps, 0, concepts["unit"][concept], concepts["image"][concept])
        row, column = np.unravel_index(values.argmax(), values.shape)
        at = int((row + 0.5) * 128 / values.shape[0]), int((column + 0.5) * 128 / values.shape[1])
        assert card[at][0] > 200
        assert card[at][1] > 150


def test_nothing_that_is_written_can_end_a_script(made):
    _, _, folder, run = made
    for path in folder.rglob("*.js"):
        content = path.read_bytes()
        assert content.isascii()
        assert not {b"<", b">", b"&"} & {bytes([letter]) for letter in content}
    assert HOSTILE in json.loads(json_text(run))["models"][1]["layers"][0]["name"]


def test_every_chunk_is_read_once(made, tmp_path, monkeypatch):
    root, _, folder, run = made
    reads, pixels = Counter(), Counter()
    maps, images = ActivationStore.maps, ImageStore.pixels

    def counted(self, layer, span, channels=slice(None)):
        reads[self.model, layer, span.start] += 1
        assert span.start % self.block == 0
        assert span.stop - span.start <= self.block
        return maps(self, layer, span, channels)

    def counted_pixels(self, span):
        pixels[span.start] += 1
        return images(self, span)

    monkeypatch.setattr(ActivationStore, "maps", counted)
    monkeypatch.setattr(ImageStore, "pixels", counted_pixels)
    write_atlas(opened(root), "a digest", Root(str(tmp_path)))
    assert set(reads.values()) == {1}
    neurons = [read(folder, f"concept/{concept}")["neurons"][0] for concept in range(run["concepts"])]
    units = {(member["model"], member["unit"]) for neuron in neurons for member in neuron["members"]}
    layers = {(MODELS[model], list(GRIDS[MODELS[model]])[int(unit >= 9)]) for model, unit in units}
    assert {(model, layer) for model, layer, _ in reads} == layers
    assert len(reads) == 5 * len(layers), "all blocks: the scatter asks for some images of each"
    assert set(pixels.values()) == {1}
    for path in folder.rglob("*.*"):
        assert (tmp_path / path.relative_to(folder)).read_bytes() == path.read_bytes(), "the same run, the same bytes"


def test_a_run_that_keeps_neighbours_only(made, tmp_path):
    _, _, folder, _ = made
    root = Root(str(tmp_path))
    finished_run(root, "neighbours")
    write_atlas(opened(root), "a digest")
    # Other columns of the tables differ in the last digit: trust is judged from other sums.
    for path in sorted({*folder.rglob("*.js")} - {*(folder / "data" / "table").iterdir()}):
        assert (tmp_path / "report" / path.relative_to(folder)).read_bytes() == path.read_bytes()


def test_a_run_that_found_nothing(tmp_path):
    root = Root(str(tmp_path))
    finished_run(root)
    for table in ("tables/rosetta.parquet", "tables/clusters.parquet"):
        tables.write(root, table, tables.read(root, table).iloc[:0], fingerprint("nothing"))
    run = write_atlas(opened(root), "a digest")
    folder = root.local / "report"
    assert (run["concepts"], run["rosetta"], run["trusted"]) == (0, 0, 0)
    assert json_text(run)
    assert set(map(len, read(folder, "concepts").values())) == {0}
    assert read(folder, "search")["offset"] == [0]
    assert read(folder, "image/3")["maps"] == []
    assert len(read(folder, "unit/0.1")["top"]) == 9
    assert not (folder / "cards").exists()
    assert not (folder / "data" / "concept").exists()


def test_images_with_a_name_and_a_class(made, tmp_path, monkeypatch):
    root, _, _, _ = made
    names = [f"class {HOSTILE}/{image}.png" for image in range(IMAGES)]
    monkeypatch.setattr(ImageStore, "sources", lambda self: names)
    monkeypatch.setattr(ImageStore, "classes", lambda self, span: np.arange(IMAGES))
    write_atlas(opened(root), "a digest", Root(str(tmp_path)))
    value = read(tmp_path, "image/7")
    assert (value["source"], value["class"]) == (f"class {HOSTILE}/7.png", 7)


def test_a_run_with_more_images_than_are_shown(made, tmp_path, monkeypatch):
    root, _, folder, _ = made
    monkeypatch.setattr(
        "tasks.report.atlas.rankings.choose_images", lambda rankings, images: np.array([3, 20], dtype=np.int32)
    )
    run = write_atlas(opened(root), "a digest", Root(str(tmp_path)))
    assert run["shown"] == [3, 20]
    names = sorted(path.name for path in (tmp_path / "data" / "image").iterdir())
    assert names == ["20.js", "3.js"]
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["20.webp", "3.webp"]
    for path in tmp_path.rglob("*.*"):
        assert path.read_bytes() == (folder / path.relative_to(tmp_path)).read_bytes()

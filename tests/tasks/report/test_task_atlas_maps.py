"""Maps, rankings and pictures of the atlas are those of the run."""

import numpy as np
import pytest
from atlas_files import IMAGES, MODELS, decoded, expected_bytes, opened, read, scale, unit_map
from PIL import Image

from storage.artifacts import catalogue
from storage.artifacts.images import ImageStore
from storage.artifacts.layout import open_complete
from storage.filesystem.root import Root
from tasks.report.atlas.write import write_atlas


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

"""A run on other devices: hours and bytes as they come by hand, what limits them, and what is refused."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import tinyzoo
from command import refused

from flows.command.main import main
from flows.plan.model_rates import estimated_seconds
from flows.plan.rates import Rates
from flows.plan.simulated import Simulation, simulate
from rosetta.errors import UserError
from rosetta.recipe import parse_recipe
from rosetta.zoo import Work

IMAGES, KEPT, COUNT, NODES = 4096, 64, 6, 3
SECONDS = {"painter": 0.5, "small": 0.25, "large": 0.125}
"""Of an image in the models of the recipe."""
TOY = {
    "float32": 1e-6,
    "tf32": 2e-6,
    "bfloat16": 4e-6,
    "memory_gb": 4,
    "bandwidth": 1,
    "convolutions": 1,
    "matrices": 1,
    "products": 0.5,
    "moving": 1,
    "per_node": 2,
    "cores": 3,
    "encode": 2,
    "decode": 0.1,
    "write": 0.25,
    "read": 5,
}
"""A slow device."""


@pytest.fixture
def toy(tmp_path):
    """Simulates the tiny recipe on six of such devices; figures and settings may be changed."""

    def run(*changes: str, on: str = "toy:6", text: str | None = None, **figures: float) -> Simulation:
        table = tmp_path / "toy.toml"
        lines = [f'{name} = [{value}, "measured"]' for name, value in {**TOY, **figures}.items()]
        table.write_text("\n".join(["[devices.toy]", 'title = "Toy"', *lines]))
        files = [table, *(_measured(tmp_path / f"{name}.json", name, on) for name in SECONDS)]
        recipe = text or tinyzoo.recipe_text(tmp_path / "root", images=f"keep = {KEPT}", count=IMAGES)
        simulation = simulate(parse_recipe(recipe, "tiny", changes=changes), on, files)
        assert not (tmp_path / "root").exists()
        return simulation

    return run


def _measured(path: Path, name: str, on: str, **changes: object) -> Path:
    said = {
        "device": on.partition(":")[0],
        "model": f"python:tinyzoo:{name}",
        "images_per_second": 1 / SECONDS[name],
        "seconds_per_image": SECONDS[name],
        "flop_per_image": None,
        "tflops": None,
        "batch": 4,
        "precision": "float32",
        "torch": "2",
        "date": "2026-01-01",
    }
    path.write_text(json.dumps({**said, **changes}))
    return path


def test_hours_and_bytes_by_hand(toy, monkeypatch):
    asked = {}

    def planned(units, pairs, images, memory, kind) -> SimpleNamespace:
        asked.update(models=list(units), pairs=len(pairs), images=images, memory=memory, kind=kind)
        return SimpleNamespace(passes=[None] * 3)

    monkeypatch.setattr("flows.plan.simulated.plan_stream", planned)
    simulation = toy()
    stored, streamed = simulation.ways
    # Channels on 4 × 4 and on 8 × 8: painter 10 and 8, ada 6 and 6, bob 10 and 10.
    coarse, fine = {"painter": 10, "ada": 6, "bob": 10}, {"painter": 8, "ada": 6, "bob": 10}
    values = sum(16 * coarse[name] + 64 * fine[name] for name in coarse)
    # Layers meet on the coarser grid; the anchor meets itself and the two others.
    terms = sum(16 * (10 * coarse[name] + 10 * fine[name] + 8 * coarse[name]) + 64 * 8 * fine[name] for name in coarse)
    unit_pairs = 18 * (18 + 12 + 20)
    correlations = 2 * 4 * unit_pairs
    of_an_image = 3 * 16 * 16 + 4 * (18 + 12 + 20)
    beside, beside_kept = IMAGES * of_an_image + correlations, KEPT * of_an_image + correlations
    maps, kept = 2 * values * IMAGES, 2 * values * KEPT
    expected = {"models": ["painter", "ada", "bob"], "pairs": 3, "images": IMAGES, "memory": 3_200_000_000}
    assert asked == {**expected, "kind": "cuda"}

    def hours(seen: int, written: int, maps_kept: int, maps_read: int) -> dict[str, float]:
        seconds = {
            "generate": seen * 0.5 / COUNT,
            "forward": seen * (0.25 + 0.125) / COUNT,
            "products": 2 * IMAGES * terms / (COUNT * 1e6 * 0.5),
            "encode": maps_kept / (COUNT * 3 * 2e6),
            "write": written / (NODES * 0.25e6),
            "read": max(maps_read / (NODES * 5e6), maps_read / (COUNT * 3 * 0.1e6)),
        }
        return {stage: value / 3600 for stage, value in seconds.items()}

    for way, expected, bytes_stored in (
        (stored, hours(IMAGES, maps + beside, maps, maps), maps + beside),
        (streamed, hours(3 * IMAGES + KEPT, kept + beside_kept, kept, 0), kept + beside_kept),
    ):
        assert way.hours == pytest.approx(expected)
        assert way.bytes_stored == bytes_stored
        assert way.node_hours == pytest.approx(NODES * way.total_hours)
    one, other = stored.hours, streamed.hours
    devices = one["generate"] + one["forward"]
    assert stored.total_hours == pytest.approx(
        max(devices, one["encode"], one["write"]) + max(one["products"], one["read"])
    )
    assert streamed.total_hours == pytest.approx(
        max(other["generate"] + other["forward"] + other["products"], other["encode"], other["write"])
    )
    assert (stored.keep, stored.passes, streamed.keep, streamed.passes) == (None, 1, KEPT, 3)
    assert (simulation.nodes, simulation.images, simulation.estimates) == (NODES, IMAGES, ())


@pytest.mark.parametrize(
    ("figures", "stored", "streamed"),
    [
        ({}, "generate", "generate"),
        ({"products": 1e-3}, "products", "products"),
        ({"encode": 1e-5}, "encode", "encode"),
        ({"write": 1e-5}, "write", "write"),
        ({"read": 1e-3}, "read", "generate"),
        ({"decode": 1e-5}, "read", "generate"),
    ],
)
def test_what_limits_a_run(toy, figures, stored, streamed):
    assert [way.slowest for way in toy(**figures).ways] == [stored, streamed]


def test_the_way_that_takes_less_is_recommended(toy):
    quick = toy(write=1e-3)
    assert (quick.best.keep, quick.as_dict()["recommended_keep"]) == (KEPT, KEPT)
    # Each pass runs all models again, so that many passes take longer than reading maps again.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flows.plan.simulated.plan_stream", lambda *_: SimpleNamespace(passes=[None] * 50))
        assert toy(decode=10).as_dict()["recommended_keep"] == "all"


def test_without_streaming(toy):
    assert len(toy().ways) == 2
    assert len(toy("images.keep='all'").ways) == 2
    assert len(toy("images.keep='all'", "images.count=1024").ways) == 1
    assert len(toy("images.keep='all'", "matching.correlation='spearman'", "images.count=128").ways) == 1


def test_cores_do_everything_in_turn(toy):
    stored, streamed = toy(on="cpu:4").ways
    hours = stored.hours
    assert stored.total_hours == pytest.approx(
        max(sum(hours[stage] for stage in ("generate", "forward", "encode")), hours["write"])
        + hours["products"]
        + hours["read"]
    )
    hours = streamed.hours
    assert streamed.total_hours == pytest.approx(
        max(sum(hours[stage] for stage in ("generate", "forward", "products", "encode")), hours["write"])
    )


def test_twice_the_devices_take_half_the_time(toy):
    small, large = toy().ways, toy(on="toy:12").ways
    for one, other in zip(small, large, strict=True):
        assert other.total_hours == pytest.approx(one.total_hours / 2)
        assert other.node_hours == pytest.approx(one.node_hours)


def test_cores_are_measured_together_and_counted_one_by_one(tmp_path):
    recipe = parse_recipe(tinyzoo.recipe_text(tmp_path / "root", count=64), "tiny")
    file = _measured(tmp_path / "four.json", "painter", "cpu:1", threads=4)
    rates = {one.name: one for one in simulate(recipe, "cpu:1", [file]).models}
    assert rates["painter"].seconds_per_image == 4 * SECONDS["painter"]
    assert (rates["painter"].source, rates["painter"].file) == ("measured", str(file))
    assert (rates["ada"].source, rates["ada"].file) == ("estimate", None)


def test_estimates_add_up():
    device = Rates().device("h100")
    work = Work(convolutions=494_700_000_000_000, products=67_000_000_000_000, moved=3_350_000_000_000)
    expected = 1 / device.convolutions[0] + 1 / device.matrices[0] + 1 / device.moving[0]
    assert estimated_seconds(work, device) == pytest.approx(expected)


def test_other_settings_than_those_measured(tmp_path):
    recipe = parse_recipe(tinyzoo.recipe_text(tmp_path / "root", count=64), "tiny")
    file = _measured(tmp_path / "other.json", "small", "h100:1", flop_per_image=10**9)
    with pytest.raises(UserError, match=r"python:tinyzoo:small was measured with 1 GFLOP .* with the recipe's size"):
        simulate(recipe, "h100:1", [file])


def test_a_model_without_an_outline(tmp_path, monkeypatch):
    (tmp_path / "asking.py").write_text(
        "import tinyzoo\nimport torch\n\n\ndef build():\n    return tinyzoo.small() if torch.ones(1).item() else None\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    text = tinyzoo.recipe_text(tmp_path / "root", ("painter", "ada"), count=64)
    entry = '[[models]]\nname = "looks"\nmodel = "python:asking:build"\nweights = "random:0"\n'
    recipe = parse_recipe(text.replace("[compute]", f"{entry}[compute]"), "tiny")
    with pytest.raises(UserError, match=r"'looks'.* rosetta zoo python:asking:build --measure FILE"):
        simulate(recipe, "h100:1")


def test_devices_that_are_too_small(toy):
    with pytest.raises(UserError, match=r"--on toy:6: the memory there: 3 MiB is too little; dumping"):
        toy(memory_gb=0.004)


def test_a_recipe_for_devices_that_are_not_here(toy):
    assert toy("compute.device='cuda'", "compute.cluster='local'", "compute.workers=8").ways == toy().ways


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(tinyzoo.recipe_text(tmp_path / "root", images="keep = 64", count=4096))
    return path


def test_in_words(recipe, tmp_path, capsys):
    unused = _measured(tmp_path / "unused.json", "small", "a100:1")
    main(["mine", str(recipe), "--plan", "--on", "h100:12", "--rates", str(unused)])
    said = capsys.readouterr().out
    assert said.startswith("12 × NVIDIA H100 SXM in 2 nodes, 4,096 images\n")
    rows = [line.split() for line in said.splitlines()]
    assert ["painter", "python:tinyzoo:painter", "18"] in [row[:3] for row in rows]
    assert [row[:2] for row in rows if row[:1] in (['"all"'], ["64"])] == [['"all"', "1"], ["64", "1"]]
    assert "Seconds. Models, encoding and writing go on side by side" in said
    assert "Recommended: images.keep = 64, " in said
    assert "Estimates, neither measured nor from a data sheet: convolutions, matrices, products" in said
    assert f"Not used: {unused} is of another model or another device" in said
    assert "nothing was written" in said
    assert not (tmp_path / "root").exists()


def test_for_programs(recipe, capsys):
    main(["mine", str(recipe), "--plan", "--on", "h100:8", "--json"])
    said = json.loads(capsys.readouterr().out)
    assert [way["keep"] for way in said["ways"]] == [None, 64]
    assert said["recommended_keep"] == 64
    assert set(said["ways"][0]["hours"]) == {"generate", "forward", "products", "encode", "write", "read"}
    assert {one["source"] for one in said["models"]} == {"estimate"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--on", "h100:8"], ["add --plan"]),
        (["--plan", "--rates", "a.json"], ["add --plan --on DEVICE:COUNT"]),
        (["--plan", "--on", "h100:0"], ["'h100:0' is not DEVICE:COUNT"]),
        (["--plan", "--on", "h10:8"], ["did you mean 'h100'"]),
        (["--plan", "--on", "h100:8", "--rates", "none.json"], ["rates none.json: No such file"]),
    ],
)
def test_bad_input(here, recipe, arguments, words):
    refused(here("mine", recipe, *arguments), *words)

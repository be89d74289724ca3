"""Rates of devices: the project's table, files that replace its figures, measured files, and what is refused."""

import json
from pathlib import Path

import pytest

from flows.plan.measured import Measured, measure, read_measured, write_measured
from flows.plan.rates import Rates, parse_devices
from rosetta import zoo
from rosetta.errors import UserError
from rosetta.model_spec import ModelSpec
from rosetta.zoo.model import Model

MEASURED = {
    "device": "NVIDIA H100 80GB HBM3",
    "threads": 1,
    "model": "timm/resnet50",
    "images_per_second": 4.0,
    "seconds_per_image": 0.25,
    "flop_per_image": 8,
    "tflops": 1e-11,
    "batch": 64,
    "precision": "float32",
    "torch": "2.9",
    "date": "2026-01-02",
}


def measured_file(path: Path, **changes: object) -> Path:
    path.write_text(json.dumps({**MEASURED, **changes}))
    return path


def test_the_table_knows_what_is_asked_for():
    devices = Rates().devices
    assert {"cpu", "a100", "h100", "h200", "l4", "rtx4090"} <= set(devices)
    for device in devices.values():
        # More bits never come faster, and a share of a peak is one.
        assert device.float32[0] <= device.tf32[0] <= device.bfloat16[0]
        assert max(device.convolutions[0], device.matrices[0], device.products[0], device.moving[0]) <= 1
    assert devices["h100"].float32 == (67, "data sheet")
    assert {"convolutions", "matrices", "products"} <= set(devices["h100"].figures("estimate"))
    assert devices["h100"].figures("measured") == ["encode"]


def test_a_file_replaces_figures_and_adds_devices(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(
        '[usual]\nwrite = [500, "measured"]\n[devices.h100]\nread = [600, "measured"]\n[devices.toy]\ntitle = "Toy"\n'
        + "".join(f'{name} = [1, "estimate"]\n' for name in ("float32", "tf32", "bfloat16", "memory_gb", "bandwidth"))
    )
    before, devices = Rates().devices, Rates([file]).devices
    assert devices["h100"].read == (600, "measured")
    assert {device.write for device in devices.values()} == {(500, "measured")}
    assert devices["h200"].read == before["h200"].read
    assert devices["h100"].float32 == before["h100"].float32
    assert devices["toy"].products == before["h100"].products


@pytest.mark.parametrize(
    ("reported", "name"),
    [
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("NVIDIA GeForce RTX 4090", "rtx4090"),
        ("NVIDIA L4", "l4"),
        ("NVIDIA L40S", "l40s"),
        ("NVIDIA GH200 480GB", None),
        ("cpu", "cpu"),
    ],
)
def test_devices_are_known_by_what_they_report(tmp_path, reported, name):
    rates = Rates([measured_file(tmp_path / "one.json", device=reported)])
    known = [device for device in rates.devices if rates.measured_on("timm/resnet50", device)]
    assert known == ([] if name is None else [name])
    assert rates.measured_on("timm/resnet18", name or "cpu") is None


def test_the_last_file_counts(tmp_path):
    files = [measured_file(tmp_path / f"{batch}.json", batch=batch) for batch in (1, 2)]
    found = Rates(files).measured_on("timm/resnet50", "h100")
    assert found is not None
    assert (found[0], found[1].batch) == (files[1], 2)


@pytest.fixture(scope="module")
def model() -> Model:
    return zoo.load(ModelSpec(name="m", model="timm/test_vit2", weights="random:0"))


def test_a_measured_file_comes_back(tmp_path, model, monkeypatch):
    monkeypatch.setattr("rosetta.zoo.timing._REPEATS", 1)
    measured = measure(model)
    write_measured(measured, tmp_path / "out.json")
    assert read_measured((tmp_path / "out.json").read_text(), "out.json") == measured
    work = zoo.forward_work(model.spec)
    assert work is not None
    assert measured.device == "cpu"
    assert measured.model == "timm/test_vit2"
    assert measured.flop_per_image == work.operations
    assert measured.images_per_second * measured.seconds_per_image == pytest.approx(1)
    assert measured.tflops == pytest.approx(work.operations / measured.seconds_per_image / 1e12)


def test_batches_are_what_is_measured(model, monkeypatch):
    monkeypatch.setattr("flows.plan.measured.batch_seconds", lambda one, images: 0.5 * images)
    measured = measure(model)
    assert (measured.batch, measured.seconds_per_image, measured.images_per_second) == (4, 0.5, 2.0)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", "[]", ["not a measured file", "rosetta zoo MODEL --measure FILE"]),
        ("a.json", "{", ["not a measured file"]),
        ("a.json", "[" * 100_000, ["not a measured file"]),
        ("a.json", json.dumps({**MEASURED, "modell": "x"}), ["unknown key 'modell'", "did you mean 'model'"]),
        ("a.json", json.dumps({**MEASURED, "seconds_per_image": -1}), ["seconds_per_image", "greater than 0"]),
        ("a.json", json.dumps({**MEASURED, "seconds_per_image": float("nan")}), ["seconds_per_image"]),
        ("a.json", json.dumps({key: MEASURED[key] for key in MEASURED if key != "batch"}), ["'batch' is missing"]),
        ("a.toml", "[devices.h100", ["is not TOML"]),
        ("a.toml", "[device.h100]", ["unknown key 'device'", "did you mean 'devices'"]),
        ("a.toml", "[devices.h100]\nreed = [1, 'measured']", ["unknown key 'devices.h100.reed'", "'read'"]),
        ("a.toml", "[devices.h100]\nread = [1, 'guessed']", ["devices.h100.read", "data sheet"]),
        ("a.toml", "[devices.h100]\nread = 5", ["devices.h100.read"]),
        ("a.toml", "[devices.h100]\nproducts = [2, 'measured']", ["devices.h100.products", "less than or equal to 1"]),
        ("a.toml", "[devices.toy]\ntitle = 'Toy'", ["devices.toy.float32", "missing"]),
        ("a.toml", "[devices.'H 100']\ntitle = 'Toy'", ["H 100", "small letters"]),
        ("a.json", "x" * 2**21, ["larger than 1 MiB"]),
    ],
)
def test_files_that_are_refused(tmp_path, name, content, words):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError) as refused:
        Rates([tmp_path / name])
    for word in (name, *words):
        assert word in str(refused.value)


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe")
    for path, word in ((tmp_path / "none.json", "No such file"), (tmp_path / "binary.json", "not a text file")):
        with pytest.raises(UserError, match=word):
            Rates([path])
    with pytest.raises(UserError, match="give the path of a file that can be written"):
        write_measured(Measured.model_validate(MEASURED), tmp_path)


def test_devices_are_parsed():
    assert parse_devices("h100:8") == ("h100", 8)
    assert parse_devices("H100:100000") == ("h100", 100_000)


@pytest.mark.parametrize(
    "asked", ["", "h100", "h100:", "h100:0", "h100:-1", "h100:1.5", ":8", "h100:8:8", "h100:٣", "h100:100001"]
)
def test_devices_that_are_not_written_so(asked):
    with pytest.raises(UserError, match="is not DEVICE:COUNT; write it like h100:8"):
        parse_devices(asked)


def test_the_nearest_device_is_named():
    with pytest.raises(UserError, match="did you mean 'h100'"):
        Rates().device("h10")
    with pytest.raises(UserError, match="the table has h200, h100"):
        Rates().device("quantum")

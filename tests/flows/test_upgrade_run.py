"""Runs of format 2: what reads them goes on, mining says what to do, and an upgrade makes them runs of today."""

import json
import shutil
from pathlib import Path
from typing import Any

import format_2
import numpy as np
import pyarrow.parquet as pq
import pytest
import zarr
from command import Command, refused
from damage import flip
from faulty_s3 import BUCKET, S3, Faulty, client, environment
from format_2 import require_upgraded
from old_roots import is_correlated, of_trust, recipe_at, unpack, unpack_more
from stores_of_versions.make import PLACE, numbers

from flows.command.main import main
from flows.mine import finished
from flows.plan.checks import prepare
from flows.plan.gather import plan_of_root
from flows.plan.stages import fingerprints
from flows.upgrade import upgrade_root
from rosetta.errors import UserError
from rosetta.recipe import parse_recipe
from storage import open_run
from storage.artifacts import layout, provenance, tables
from storage.artifacts.fingerprint import FORMAT, Fingerprint
from storage.artifacts.guided import GuidedStore
from storage.artifacts.seals import read
from storage.filesystem.root import Root
from storage.upkeep.check import check_root
from tasks.report.page import PAGE


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_of_format_2_becomes_one_of_today(tmp_path, capsys):
    root = unpack("2", tmp_path)
    main(["upgrade", str(root), "--json"])
    done = json.loads(capsys.readouterr().out)
    assert "activations/ada.zarr" in done["rewritten"]
    assert done["removed"] == []
    told = json.loads((PLACE / "2" / "expected.json").read_text())
    assert numbers(open_run(root)) == told
    assert check_root(Root(str(root))) == []
    plan = prepare(recipe_at(root))
    assert is_correlated(plan)
    record = json.loads((root / "provenance.json").read_text())
    assert record["format"] == FORMAT
    # Provenance did not always list features and profiles.
    listed = {path: digest for path, digest in record["fingerprints"].items() if path != PAGE and not of_trust(path)}
    assert listed.items() <= fingerprints(plan).items()
    assert record["runs"]
    for artifact in ("images.zarr", "activations/ada.zarr", "tables/units.parquet", "report", "provenance.json"):
        assert read(Root(str(root)), artifact) is not None
    assert not (root / "upgrade").exists()
    main(["upgrade", str(root)])
    assert "Nothing to do" in capsys.readouterr().out


def test_mining_a_root_of_format_2_says_what_to_do(tmp_path, here):
    root = unpack("2", tmp_path)
    shutil.copy(root / "recipe.toml", tmp_path / "it.toml")
    before = files(root)
    words = (f"was written in format 2; run rosetta upgrade {root}", "then mine again")
    refused(here("mine", tmp_path / "it.toml", "--root", root), *words)
    assert files(root) == before
    # One that was begun has no provenance yet.
    (root / "provenance.json").unlink()
    refused(here("mine", tmp_path / "it.toml", "--root", root), *words)
    more = (tmp_path / "it.toml").read_text().replace("[images]", f'[images]\nfrom = "{root}"')
    (tmp_path / "it.toml").write_text(more)
    refused(here("mine", tmp_path / "it.toml", "--root", tmp_path / "new"), *words)


def test_a_damaged_root_of_format_2_is_mended_first(tmp_path, here):
    root = unpack_more("photos", tmp_path)
    shutil.copy(root / "recipe.toml", tmp_path / "it.toml")
    flip(root / "activations/ada.zarr/body.1/mean", 2, 0)
    refused(here("upgrade", root), "so nothing was upgraded; run rosetta mine RECIPE --mend, then upgrade again")
    refused(here("mine", tmp_path / "it.toml", "--root", root, "--mend"), "rosetta upgrade")
    assert [one for one in check_root(Root(str(root))) if one.kind != "missing"] == []
    assert upgrade_root(str(root)) is not None


def test_a_chunk_that_mending_removed_is_mined_again(tmp_path, monkeypatch, here):
    monkeypatch.chdir(tmp_path)
    root = unpack_more("photos", tmp_path)
    before = numbers_of_photos(root)
    shutil.copy(root / "recipe.toml", tmp_path / "it.toml")
    flip(root / "activations/ada.zarr/body.1/activation/c", 1, 0)
    refused(here("mine", tmp_path / "it.toml", "--root", root, "--mend"), "rosetta upgrade")
    done = upgrade_root(str(root))
    assert done is not None
    assert done.removed == ["activations/ada.zarr"]  # its only block
    assert before["cyd"] == numbers_of_photos(root)["cyd"]
    plan = prepare(recipe_at(root))
    assert finished(plan) is None


@pytest.mark.slow
def test_mining_resumes_an_upgraded_run(tmp_path, tiny):
    """What was there when the run was cut short is not made again."""
    root = unpack_more("photos", tmp_path)
    store = zarr.open_group(root / "activations/ada.zarr", mode="r+", use_consolidated=False)
    store.attrs["complete"] = False
    store["written"][:] = False
    for path in ("provenance.json", "tables/trust.parquet", "correlations/ada~cyd.zarr"):
        shutil.rmtree(root / path) if path.endswith("zarr") else (root / path).unlink()
    shutil.rmtree(root / "seals")
    shutil.copy(root / "recipe.toml", tmp_path / "it.toml")
    done = tiny.json("upgrade", root)
    assert done["removed"] == ["activations/ada.zarr"]
    words = ("--root", root, "--set", f"images.source={tmp_path}/pictures")
    stages = {one["name"]: one["outcome"] for one in tiny.json("mine", tmp_path / "it.toml", *words)["stages"]}
    assert {name for name, outcome in stages.items() if outcome == "skipped"} == {
        "images", "dump cyd", "features", "profile", "units"
    }  # fmt: skip
    assert check_root(Root(str(root))) == []


def numbers_of_photos(root: Path) -> dict[str, list[float]]:
    """By model: the means of its units."""
    found = {}
    for model in ("ada", "cyd"):
        attributes = layout.stored_attributes(Root(str(root)), f"activations/{model}.zarr")
        if attributes and attributes["complete"]:
            group = zarr.open_group(root / f"activations/{model}.zarr", mode="r")
            found[model] = group["body.1/mean"][:].tolist()
    return found


def test_images_of_a_folder_are_still_those_of_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = unpack_more("photos", tmp_path)
    old = zarr.open_group(root / "images.zarr", mode="r")
    labels, place = old["label"][:].tolist(), old["place"][:].tolist()
    upgrade_root(str(root))
    assert is_correlated(prepare(recipe_at(root)))
    new = zarr.open_group(root / "images.zarr", mode="r")
    assert new["label"][:].tolist() == labels
    assert new["place"][:].tolist() == place
    activations = zarr.open_group(root / "activations/ada.zarr", mode="r")
    assert activations["body.1/label"][:].tolist() == labels


@pytest.fixture
def searched(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return unpack_more("searched", tmp_path)


SMALL = ("0:2", "new:1", "--steps", "4", "--batch", "2", "--restarts", "1", "--schedule", "constant", "--name", "small")
SEARCHES = [("invert", SMALL), ("edit", ("--image", "0:2", "--shift", "0.25,0", "--steps", "4", "--name", "moved"))]


@pytest.mark.slow
def test_searches_of_format_2_go_on_before_and_after(searched, tiny):
    for command, words in SEARCHES:
        again = tiny.json(command, searched, *words)
        assert {stage["outcome"] for stage in again["stages"]} == {"skipped"}
    upgrade_root("root")
    assert check_root(Root("root")) == []
    for command, words in SEARCHES:
        again = tiny.json(command, searched, *words)
        assert {stage["outcome"] for stage in again["stages"]} == {"skipped"}
    assert read(Root("root"), "inversions/small") is not None


def test_a_search_that_was_cut_short_keeps_its_batches(searched):
    group = zarr.open_group(searched / "inversions/small/result.zarr", mode="r+", use_consolidated=False)
    latents, loss = group["latent"][:], group["loss"][:]
    group["written"][0, 1] = False
    group.attrs["complete"] = False
    for name in ("metrics.parquet", "index.html"):
        (searched / "inversions/small" / name).unlink()
    for seal in ("inversions~small.json", "inversions~small~result.zarr.json"):
        (searched / "seals" / seal).unlink()
    upgrade_root("root")
    depends: dict[str, Any] = {**layout.attributes_of(group)["depends"], "format": FORMAT}
    depends["dictionary"] = tables.attributes(Root("root"), "tables/rosetta.parquet")["fingerprint"]
    store = GuidedStore.open(Root("root"), Fingerprint(depends), "inversions/small")
    assert store is not None
    assert store.missing() == [(0, slice(2, 3))]
    np.testing.assert_array_equal(store.found("latent", slice(0, 2)), latents[:, :2])
    np.testing.assert_array_equal(store.found("loss", slice(0, 2)), loss[:, :2])
    assert store.sources == ["image 0", "image 1", "new 0"]


@pytest.mark.slow
def test_an_upgraded_run_is_laid_out_as_one_of_today(tmp_path, tiny):
    root = unpack("2", tmp_path)
    shutil.copy(root / "recipe.toml", tmp_path / "it.toml")
    upgrade_root(str(root))
    for place in (root, tmp_path / "today"):  # what there was not then is made by mining
        tiny.json("mine", tmp_path / "it.toml", "--root", place)
    stores = [path.relative_to(root) for path in root.rglob("*.zarr")]
    assert len(stores) == 11
    for store in stores:
        later = ("pearson_half_1", "half")  # was not computed, and halves were not drawn
        old, today = (
            {path: about for path, about in laid_out(place / store).items() if path.rpartition("/")[2] not in later}
            for place in (root, tmp_path / "today")
        )
        assert old == today
    for table in (root / "tables").rglob("*.parquet"):
        old, new = pq.read_schema(table), pq.read_schema(tmp_path / "today" / table.relative_to(root))
        assert [field.metadata for field in old] == [field.metadata for field in new]
        assert old.remove_metadata() == new.remove_metadata()


def laid_out(store: Path) -> dict[str, Any]:
    """All that a reader sees of a store but its values, and but what is said of rounding and fingerprints."""
    group = zarr.open_group(store, mode="r")
    unlike = ("fingerprint", "depends", "made_with", "upgraded", "comment", "widened", "half")
    found: dict[str, Any] = {}
    for path, member in [("", group), *group.members(max_depth=None)]:
        found[path] = {key: value for key, value in member.attrs.asdict().items() if not key.startswith(unlike)}
        if "coordinates" in found[path]:
            found[path]["coordinates"] = found[path]["coordinates"].replace(" half", "")
        if isinstance(member, zarr.Array):
            names, compressors = member.metadata.dimension_names, member.compressors
            found[path] |= {"": (member.shape, member.chunks, member.shards, str(member.dtype), names, compressors)}
    return found


@pytest.mark.slow
def test_an_upgraded_run_is_mended_as_any(tmp_path, tiny):
    root = unpack("2", tmp_path)
    shutil.copy(root / "recipe.toml", tmp_path / "it.toml")
    before = numbers(open_run(root))
    upgrade_root(str(root))
    flip(root / "activations/ada.zarr/body.1/activation/c", 1, 0)
    assert [one.artifact for one in check_root(Root(str(root)))] == ["activations/ada.zarr/body.1/activation"]
    done = tiny("mine", tmp_path / "it.toml", "--root", root, "--mend")
    assert done.returncode == 0, done.stderr
    assert check_root(Root(str(root))) == []
    after = numbers(open_run(root))
    for key in ("mean", "std", "activations"):
        assert after[key] == pytest.approx(before[key], rel=1e-2)  # rounded otherwise now
    assert after["pearson"] == before["pearson"]


@pytest.mark.slow
def test_a_run_of_format_2_can_be_judged_and_shown_as_before(searched, tiny):
    before = layout.stored_attributes(Root("root"), "correlations/painter~ada.zarr")
    assert tiny("report", searched).returncode == 0
    assert tiny("trust", searched, "--set", "trust.q=0.01").returncode == 0
    assert tiny("invert", searched, "1", "--steps", "2", "--name", "more").returncode == 0
    assert layout.stored_attributes(Root("root"), "correlations/painter~ada.zarr") == before
    assert [one for one in check_root(Root("root")) if one.kind != "missing"] == []
    upgrade_root("root")
    assert check_root(Root("root")) == []
    assert is_correlated(prepare(recipe_at(searched)))


def test_an_upgrade_that_was_cut_short_is_resumed(tmp_path, monkeypatch, here):
    root = unpack("2", tmp_path)
    shutil.copy(root / "recipe.toml", tmp_path / "it.toml")

    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(provenance, "renew", killed)
        with pytest.raises(Killed):
            upgrade_root(str(root))
    for words in (("mine", tmp_path / "it.toml", "--root", root), ("report", root)):
        refused(here(*words), f"an upgrade was cut short; run rosetta upgrade {root} to resume it")
    assert open_run(root).name == "tiny"
    upgrade_root(str(root))
    assert is_correlated(prepare(recipe_at(root)))
    assert check_root(Root(str(root))) == []


def test_whoever_shares_stores_upgrades_after_the_root_that_holds_them(tmp_path):
    home = unpack("2", tmp_path)
    run = tmp_path / "run"
    shutil.copytree(home, run, ignore=shutil.ignore_patterns("images.zarr", "activations", "features.zarr", "profiles"))
    names = ["images.zarr", "features.zarr"]
    names += [f"{kind}/{model}.zarr" for kind in ("activations", "profiles") for model in ("painter", "ada", "cyd")]
    shared = {"format": 2, "from": str(home), "stores": {name: name for name in names}}
    (run / "shared.json").write_text(json.dumps(shared))
    text = (run / "recipe.toml").read_text().replace("[images]", f'[images]\nfrom = "{home}"')
    (run / "recipe.toml").write_text(text)
    told = numbers(open_run(run))
    with pytest.raises(UserError, match=f"shares images.zarr of {home}, which .*; run rosetta upgrade {home} first"):
        upgrade_root(str(run))
    upgrade_root(str(home))
    with pytest.raises(UserError, match="was written in format 2"):
        prepare(parse_recipe(text, "it", str(run), ()))
    upgrade_root(str(run))
    assert numbers(open_run(run)) == told
    recipe = parse_recipe(text, "it", str(run), ())
    assert is_correlated(prepare(recipe))
    assert fingerprints(plan_of_root(Root(str(run)), recipe))[PAGE]
    assert json.loads((run / "shared.json").read_text())["format"] == FORMAT


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.0, pytest.param(0.05, marks=pytest.mark.soak)])
def test_an_object_store_is_upgraded_too(share, tmp_path, tiny):
    format_2.write(Root(str(tmp_path / "old")))
    s3 = S3.start()
    try:
        for path in (tmp_path / "old").rglob("*"):
            if path.is_file():
                key = path.relative_to(tmp_path).as_posix()
                client(s3.url).put_object(Bucket=BUCKET, Key=key, Body=path.read_bytes())
        url = s3.url if share == 0.0 else Faulty(s3.url, share=share, seed=1).start().url
        store, there = Command({**tiny.environment, **environment(url)}), f"s3://{BUCKET}/old"
        assert "activations/g.zarr" in store.json("upgrade", there)["rewritten"]
        assert "Nothing to do" in store("upgrade", there).stdout
        for page in client(s3.url).get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="old"):
            for entry in page["Contents"]:
                content = client(s3.url).get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read()
                Root(str(tmp_path / "back")).write_bytes(entry["Key"], content)
    finally:
        s3.server.stop()
    require_upgraded(Root(str(tmp_path / "back/old")))

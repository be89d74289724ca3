"""A run in an object store: a real S3 server on loopback, with and without bad moments."""

import json
from pathlib import Path
from typing import NamedTuple

import fsspec
import pytest
import tinyzoo
from command import Command
from faulty_s3 import BUCKET, KEYS, S3, Faulty, client, environment, strict
from packaged import recipe_text

pytestmark = pytest.mark.slow

TABLES = ("units", "buddies", "trust", "rosetta", "clusters")


@pytest.fixture(scope="module")
def s3():
    started = S3.start()
    yield started
    started.server.stop()


@pytest.fixture(scope="module")
def store(rosetta, s3):
    """The command, with the server's address and keys in its environment."""
    return Command({**rosetta.environment, **s3.environment})


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(recipe_text("elsewhere"))
    return path


def files(s3: S3, folder: str) -> dict[str, bytes]:
    found = {}
    for page in client(s3.url).get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=folder):
        for entry in page.get("Contents", ()):
            found[entry["Key"]] = client(s3.url).get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read()
    return found


def same_tables(found: dict[str, bytes], folder: str, run) -> bool:
    return all(
        found[f"{folder}/tables/{table}.parquet"] == (run[0] / f"tables/{table}.parquet").read_bytes()
        for table in TABLES
    )


class Mined(NamedTuple):
    """A run in the store, and the same on disk."""

    name: str
    store: Command
    counts: dict
    on_disk: tuple[Path, dict]

    @property
    def root(self) -> str:
        return f"s3://{BUCKET}/{self.name}"


@pytest.fixture(scope="module", params=["tiny", pytest.param("small", marks=pytest.mark.soak)])
def mined(request, tiny, store, s3, tmp_path_factory) -> Mined:
    name, folder = request.param, tmp_path_factory.mktemp("s3")
    recipe = folder / "recipe.toml"
    if name == "tiny":
        recipe.write_text(tinyzoo.recipe_text(folder / "root"))
        on_disk = folder / "root", tiny.json("mine", recipe)
        store = Command({**tiny.environment, **s3.environment})
    else:
        recipe.write_text(recipe_text(folder / "root"))
        on_disk = request.getfixturevalue("run")
    printed = store.json("mine", recipe, "--root", f"s3://{BUCKET}/{name}")
    return Mined(name, store, printed["counts"], on_disk)


def test_the_same_bytes_as_on_disk(mined, s3):
    found = files(s3, mined.name)
    assert same_tables(found, mined.name, mined.on_disk)
    assert mined.counts == mined.on_disk[1]["counts"]
    assert not [name for name in found if name.endswith((".part", ".lock"))]


def test_what_reads_a_run_reads_it_there(mined):
    store = mined.store
    assert store("check", mined.root).stdout == "No damage found.\n"
    assert {entry["state"] for entry in store.json("status", mined.root)["artifacts"]} == {"complete"}
    assert store.json("report", mined.root, "--figure", 0)["path"] == f"{mined.root}/figures/concept-0.png"
    done = store.json("invert", mined.root, 3, "--name", "one", "--steps", 4)
    assert {stage["outcome"] for stage in done["stages"]} == {"done"}
    assert store("check", mined.root).stdout == "No damage found.\n"


def test_no_key_is_kept_or_told(mined, s3):
    found = files(s3, mined.name)
    told = mined.store("status", mined.root)
    for secret in KEYS.values():
        assert not [name for name, content in found.items() if secret.encode() in content]
        assert secret not in told.stdout + told.stderr


@pytest.mark.soak
@pytest.mark.timeout(2400)
def test_bad_moments_change_nothing(rosetta, run, s3, recipe, record_property):
    faulty = Faulty(s3.url, share=0.05, seed=3).start()
    store = Command({**rosetta.environment, **environment(faulty.url)})
    done = store.start("mine", recipe, "--root", f"s3://{BUCKET}/faulty", "--json")
    said, errors = done.communicate(timeout=2000)
    assert done.returncode == 0, errors
    assert set(faulty.faults) == {"503", "reset", "stall", "short"}
    found = files(s3, "faulty")
    assert same_tables(found, "faulty", run)
    told = json.loads(said)["retries"]
    record_property("faults", sum(faulty.faults.values()))
    record_property("retries", told)
    # What a connection that was reset costs, aiohttp may make again by itself; of a 503 botocore decides.
    assert told >= faulty.faults["503"]
    assert 0 < json.loads(found["faulty/provenance.json"])["runs"][-1]["retries"] <= told


@pytest.mark.parametrize(
    ("root", "changes", "told"),
    [
        ("s3://not-there/run", {}, ("root s3://not-there/run: cannot be written", "bucket does not exist")),
        (f"s3://{BUCKET}/x", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, ("127.0.0.1:9", "AWS_ENDPOINT_URL")),
        (f"s3://{BUCKET}/x", {"AWS_PROFILE": "nobody"}, ("nobody", "AWS_PROFILE")),
        ("s3://key:hidden@zoo/x", {}, ("s3://…@zoo holds credentials", "environment or a profile")),
    ],
)
def test_what_can_be_wrong_is_one_line(rosetta, s3, recipe, root, changes, told):
    store = Command({**rosetta.environment, **s3.environment, **changes})
    done = store("mine", recipe, "--root", root)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "hidden" not in done.stderr
    for word in told:
        assert word in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("command", ["mine", "status"])
def test_keys_that_are_not_known_there(rosetta, recipe, command):
    place = f"s3://{BUCKET}/x"
    with strict() as url:
        store = Command({**rosetta.environment, **environment(url)})
        done = store("mine", recipe, "--root", place) if command == "mine" else store("status", place)
    assert done.returncode == 2
    line = done.stderr.splitlines()[-1]
    assert line.startswith("rosetta: object store: ")
    assert "the keys are unknown or lack the permission; check AWS_ACCESS_KEY_ID" in line
    assert not [secret for secret in KEYS.values() if secret in done.stderr]


def test_memory_is_a_store_too(monkeypatch, recipe, run):
    from storage.filesystem.root import Root
    from storage.upkeep.check import check_root

    # What is on the disk, moved; the run's own process is gone with its memory.
    place = fsspec.filesystem("memory")
    for path in run[0].rglob("*"):
        if path.is_file():
            place.pipe_file(f"/copied/{path.relative_to(run[0])}", path.read_bytes())
    assert check_root(Root("memory://copied")) == []

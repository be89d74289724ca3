"""What status says of a run, from its stores alone."""

import json
import os
import time

import numpy as np
import pandas as pd
import pytest
import stores
import zarr
from described import described
from planted import write_images, write_maps
from test_prune import MAPS, write_recipe

from flows.command.upkeep import status as show
from rosetta.errors import UserError
from rosetta.units import Layer, Units
from storage.artifacts import shared, tables, workers
from storage.artifacts.activations import ActivationStore
from storage.artifacts.catalogue import MASKS, REPORT, Instance
from storage.artifacts.fingerprint import fingerprint
from storage.artifacts.workers import Process, Work, Worker
from storage.filesystem.lock import locked
from storage.filesystem.root import Root
from storage.upkeep.status import status

ALWAYS = ("units", "buddies", "trust", "rosetta", "clusters", "classes", "concept_classes")
MEASURED = ("distances", "null", "layers", "rarefaction", "stability")
"""Tables of what is measured for the sake of trust alone."""


@pytest.fixture
def root(tmp_path) -> Root:
    root = Root(str(tmp_path / "root"))
    write_images(root, np.zeros((8, 4, 4, 3), np.uint8))
    write_maps(root, "a", MAPS, block=4)
    write_recipe(root, ("a", "b", "c"))
    return root


def begin(root: Root, model: str) -> ActivationStore:
    units = Units((Layer("layer", 3, (2, 2)),))
    store = stores.begin(root, model, fingerprint("activations", of=model), units, images=8, block=2)
    for marker in (0, 2):
        store.mark(marker)
    return store


def listed(root: Root) -> dict:
    return {entry.artifact: entry for entry in status(root).artifacts}


def test_everything_that_the_recipe_names_is_listed_whether_or_not_it_is_there(root):
    states = {path: entry.state for path, entry in listed(root).items()}
    assert states == {
        "images.zarr": "complete",
        "activations/a.zarr": "complete",
        "activations/b.zarr": "missing",
        "activations/c.zarr": "missing",
        "features.zarr": "missing",
        **{f"correlations/a~{name}.zarr": "missing" for name in "abc"},
        **{f"profiles/{name}.zarr": "missing" for name in "abc"},
        **{f"tables/{table}.parquet": "missing" for table in ALWAYS},
        **{f"tables/{table}/a~{name}.parquet": "missing" for table in ("trust", "examined") for name in "abc"},
        # Of a model with itself there is nothing to rotate or to assign.
        **{f"tables/{table}/a~{name}.parquet": "missing" for table in ("excess", "assigned") for name in "bc"},
        **{f"tables/{table}.parquet": "missing" for table in MEASURED},
        "report/index.html": "missing",
    }
    assert status(root).without_store == ("b", "c")
    assert status(root).state == "incomplete"


def test_what_the_recipe_leaves_out_is_not_missing(root):
    write_recipe(root, ("a", "b", "c"), leave_out=("one_to_one", "layers", "stability"))
    tables = {path for path in listed(root) if path.startswith("tables/")}
    assert not {path for path in tables if "assigned" in path}
    assert {name for name in MEASURED if f"tables/{name}.parquet" in tables} == {"null", "rarefaction"}
    assert "tables/excess/a~b.parquet" in tables


def bytes_of(model: str, root: Root) -> int:
    """Of all arrays of a store, before compression."""
    group = zarr.open_group(str(root.local / f"activations/{model}.zarr"), mode="r")
    return sum(array.nbytes for _, array in group.members(max_depth=None) if isinstance(array, zarr.Array))


def test_blocks_and_bytes_are_counted(root):
    begin(root, "b")
    entry = listed(root)["activations/b.zarr"]
    assert (entry.state, entry.done, entry.total) == ("2 of 4 blocks", 2, 4)
    assert entry.bytes == bytes_of("b", root) // 2
    assert status(root).without_store == ("c",)
    whole = listed(root)["activations/a.zarr"]
    assert (whole.done, whole.total) == (2, 2)
    assert whole.bytes == bytes_of("a", root) >= 8 * 3 * 4 * 4, "the maps alone"
    assert listed(root)["images.zarr"].bytes >= 8 * 4 * 4 * 3, "the pixels alone"


def test_what_was_written_to_lately_is_under_way(root):
    begin(root, "b")
    found = status(root)
    assert found.running == "activations/b.zarr"
    assert found.state == "running"
    for marker in (root.local / "activations/b.zarr/bookkeeping/written").rglob("*"):
        os.utime(marker, (time.time() - 600,) * 2)
    assert status(root).running is None
    assert status(root).state == "incomplete"


def test_no_chunk_of_maps_is_looked_at(root, monkeypatch):
    begin(root, "b")
    for path in (root.local / "activations").glob("*/layer/*/c"):
        path.rename(path.with_name("gone"))
    assert listed(root)["activations/b.zarr"].state == "2 of 4 blocks"
    assert listed(root)["activations/a.zarr"].state == "complete"


def test_damaged_metadata_is_named(root):
    (root.local / "activations/a.zarr/zarr.json").write_text("[]")
    states = {path: entry.state for path, entry in listed(root).items()}
    assert states["activations/a.zarr"] == "damaged"
    assert states["images.zarr"] == "complete"


def test_neither_run_nor_shared_root(tmp_path):
    with pytest.raises(UserError, match="holds no run"):
        status(Root(str(tmp_path)))


def test_a_shared_root_without_a_recipe_lists_its_stores_and_users(root, tmp_path):
    root.remove("recipe.toml")
    run = Root(str(tmp_path / "run"))
    shared.link(run, {"images.zarr": shared.Place(root, "images.zarr")})
    found = status(root)
    assert (found.run, found.users) == (None, (run.url,))
    assert [entry.artifact for entry in found.artifacts] == ["images.zarr", "activations/a.zarr"]


def test_what_workers_do_is_shown_while_their_process_holds_the_root(root, capsys):
    ada = Worker(worker="tcp://10.0.0.1:9", device="cuda:0 H100", model="ada", images=4096, images_per_second=512.0)
    work = Work(stage="dump ada", done=4096, total=8192, seconds_left=8.0, workers=(ada,), process=Process.here())
    assert status(root).work is None
    workers.write(root, work)
    assert status(root).work is None, "of a process that is gone"
    with locked(root):
        assert status(root).work == work
        show(root.url)
        lines = capsys.readouterr().out.splitlines()
        assert lines[-3:] == [
            "dump ada: 4,096 of 8,192 images, 512.0 a second, about 8 s left",
            "worker            device       model  images  images/s",
            "tcp://10.0.0.1:9  cuda:0 H100  ada     4,096     512.0",
        ]
        show(root.url, as_json=True)
        (told,) = json.loads(capsys.readouterr().out)["work"]["workers"]
        assert told == ada.model_dump()
    assert json.loads(json.dumps(status(root).as_dict()))["work"] is None


def test_a_page_without_a_table_that_was_added_since_is_outdated(root):
    page = Instance(REPORT).index
    made = fingerprint("masks", dictionary="any")
    tables.write(root, MASKS.path(), described(MASKS.path(), pd.DataFrame({"label": ["hair"]})), made)
    assert listed(root)[page].state == "missing"
    root.write_bytes(page, b"a page")
    assert listed(root)[page].state == "outdated"
    root.write_bytes(page, f"a page of {made.digest}".encode())
    assert listed(root)[page].state == "complete"

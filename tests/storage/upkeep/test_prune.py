"""What prune finds and removes, and what it never touches."""

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
import zarr
from planted import write_images, write_maps

from rosetta.errors import UserError
from rosetta.recipe import recipe_from
from rosetta.zoo.weights.source import FromFile
from storage.artifacts import provenance, shared
from storage.artifacts.fingerprint import fingerprint
from storage.artifacts.images import ImageStore
from storage.artifacts.offered_weights import OfferedWeights
from storage.artifacts.shared import Place
from storage.filesystem.root import Root
from storage.upkeep.prune import find_leftovers, remove
from storage.upkeep.status import status

MAPS = {"layer": np.arange(8 * 3 * 4, dtype=np.float32).reshape(8, 3, 2, 2)}


def make(root: Root, *models: str, named: tuple[str, ...]) -> None:
    write_images(root, np.zeros((8, 4, 4, 3), np.uint8))
    for model in models:
        write_maps(root, model, MAPS, block=4)
    write_recipe(root, named)


def write_recipe(root: Root, named: tuple[str, ...], leave_out: tuple[str, ...] = (), **more) -> None:
    specs = [{"name": name, "model": f"python:x:{name}"} for name in named]
    images, trust = {"source": "photos", **more}, {"leave_out": leave_out, "tests": ["chance"]}
    recipe = {"name": "r", "root": root.url, "images": images, "models": specs, "trust": trust}
    provenance.write_recipe(root, recipe_from(recipe, "r"))


def old(path: Path) -> None:
    os.utime(path, (time.time() - 3600,) * 2)


@pytest.fixture
def root(tmp_path) -> Root:
    root = Root(str(tmp_path / "root"))
    make(root, "a", "b", "c", named=("a", "b"))
    return root


def paths(found) -> list[str]:
    return [leftover.path for leftover in found.leftovers]


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_what_no_recipe_names_goes_and_the_rest_stays(root):
    local = root.local
    for stray in ("correlations/a~c.zarr/zarr.json", "profiles/c.zarr/x", "tables/trust/a~c.parquet"):
        root.write_bytes(stray, b"12345")
    for ours in (
        "correlations/a~b.zarr/zarr.json", "tables/trust/a~b.parquet", "inversions/one/result.zarr/c", "edits/e/x",
        "figures/f.png", "notes/mine.txt", "report/index.html",
    ):  # fmt: skip
        root.write_bytes(ours, b"ours")
    before = files(local)
    found = find_leftovers(root)
    assert sorted(paths(found)) == [
        "activations/c.zarr", "correlations/a~c.zarr", "profiles/c.zarr", "tables/trust/a~c.parquet"
    ]  # fmt: skip
    sizes = {leftover.path: leftover.bytes for leftover in found.leftovers}
    assert sizes["tables/trust/a~c.parquet"] == sizes["profiles/c.zarr"] == 5
    maps = sum(path.stat().st_size for path in (local / "activations/c.zarr").rglob("*") if path.is_file())
    assert sizes["activations/c.zarr"] == maps
    assert found.bytes == maps + 15
    assert files(local) == before
    remove(root, found)
    assert files(local) == {path for path in before if not path.startswith(tuple(paths(found)))}
    assert paths(find_leftovers(root)) == []


def test_tables_that_the_recipe_leaves_out_by_now_go(root):
    measured = ["tables/assigned/a~b.parquet", "tables/distances.parquet", "tables/stability.parquet"]
    for path in measured:
        root.write_bytes(path, b"12345")
    assert paths(find_leftovers(root)) == ["activations/c.zarr"]
    write_recipe(root, ("a", "b"), leave_out=("one_to_one", "stability"))
    assert sorted(paths(find_leftovers(root))) == ["activations/c.zarr", *measured]


def test_pairs_of_models_of_the_recipe_stay_while_the_anchor_is_not_known(tmp_path):
    root = Root(str(tmp_path))
    make(root, "a", named=("a", "b"))
    write_recipe(root, ("a", "b"), source=None)
    for pair in ("a~b", "b~b", "b~c"):
        root.write_bytes(f"correlations/{pair}.zarr/zarr.json", b"")
    assert paths(find_leftovers(root)) == ["correlations/b~c.zarr"]


def test_parts_of_writes_go_once_nobody_writes_them(root):
    cut = root.local / "tables/.units.parquet.12.part"
    cut.parent.mkdir()
    cut.write_bytes(b"half")
    (root.local / "tables/kept.part").write_bytes(b"a user's own")
    old(root.local / "tables/kept.part")
    assert "tables/.units.parquet.12.part" not in paths(find_leftovers(root))
    old(cut)
    found = find_leftovers(root)
    assert "tables/.units.parquet.12.part" in paths(found)
    assert "tables/kept.part" not in paths(found)


def test_links_are_neither_followed_nor_removed(root, tmp_path):
    other = Root(str(tmp_path / "other"))
    make(other, "x", "y", named=("x", "y"))
    (root.local / "activations/x.zarr").symlink_to(other.local / "activations/x.zarr")
    (root.local / "profiles").symlink_to(other.local / "activations")
    before = files(other.local)
    found = find_leftovers(root)
    assert paths(found) == ["activations/c.zarr"]
    assert {path for path, _ in found.kept} == {"activations/x.zarr", "profiles/x.zarr", "profiles/y.zarr"}
    remove(root, found)
    assert files(other.local) == before
    assert (root.local / "activations/x.zarr").is_symlink()


def test_a_link_that_takes_the_place_of_a_leftover_is_not_followed(root, tmp_path):
    found = find_leftovers(root)
    outside = tmp_path / "outside"
    (root.local / "activations/c.zarr").rename(outside)
    (root.local / "activations/c.zarr").symlink_to(outside)
    before = files(outside)
    remove(root, found)
    assert files(outside) == before


def test_a_store_that_is_being_written_stays(root):
    store = ImageStore.create(
        Root(f"{root.url}/activations/elsewhere"), fingerprint("images"), images=8, size=(4, 4), block=4, latents=None
    )
    store.write(0, np.zeros((4, 4, 4, 3), np.uint8))
    (root.local / "activations/elsewhere/images.zarr").rename(root.local / "activations/d.zarr")
    (root.local / "activations/elsewhere").rmdir()
    assert ("activations/d.zarr", "written to a moment ago") in find_leftovers(root).kept
    for marker in (root.local / "activations/d.zarr/bookkeeping/written").rglob("*"):
        old(marker)
    assert "activations/d.zarr" in paths(find_leftovers(root))


def share(root: Root, user: Root, named: tuple[str, ...], *stores: str) -> None:
    write_recipe(user, named, **{"from": root.url})
    shared.link(user, {path: Place(root, path) for path in stores})


def test_what_users_of_a_shared_root_need_stays(tmp_path):
    zoo, one, two = (Root(str(tmp_path / name)) for name in ("zoo", "one", "two"))
    write_images(zoo, np.zeros((8, 4, 4, 3), np.uint8))
    for model in ("a", "b", "c", "d"):
        write_maps(zoo, model, MAPS, block=4)
    share(zoo, one, ("a", "b"), "images.zarr", "activations/a.zarr", "activations/b.zarr")
    share(zoo, two, ("b", "c"), "images.zarr", "activations/b.zarr", "activations/c.zarr")
    assert paths(find_leftovers(zoo)) == ["activations/d.zarr"]
    # A run that is gone keeps what it had until someone says that it is gone.
    one.remove("recipe.toml")
    found = find_leftovers(zoo)
    assert paths(found) == ["activations/d.zarr"]
    assert any(path == "activations/a.zarr" and f"--forget {one.url}" in reason for path, reason in found.kept)
    found = find_leftovers(zoo, forget=[one.url])
    assert paths(found) == ["activations/a.zarr", "activations/d.zarr"]
    assert len(shared.users(zoo)) == 2
    remove(zoo, found)
    assert [user.root.url for user in shared.users(zoo)] == [two.url]
    assert [entry.artifact for entry in status(zoo).artifacts] == [
        "images.zarr", "activations/b.zarr", "activations/c.zarr"
    ]  # fmt: skip
    assert status(zoo).users == (two.url,)


def test_a_run_that_shares_prunes_only_what_is_its_own(tmp_path):
    zoo, run = Root(str(tmp_path / "zoo")), Root(str(tmp_path / "run"))
    write_images(zoo, np.zeros((8, 4, 4, 3), np.uint8))
    write_maps(zoo, "a", MAPS, block=4)
    share(zoo, run, ("a", "b"), "images.zarr", "activations/a.zarr")
    run.write_bytes("activations/a.zarr/c/0", b"cut off while it was laid out, before the run shared")
    before = files(zoo.local)
    assert paths(find_leftovers(run)) == ["activations/a.zarr"]
    remove(run, find_leftovers(run))
    assert files(zoo.local) == before
    listed = {entry.artifact: entry for entry in status(run).artifacts}
    assert listed["activations/a.zarr"].shared == f"{zoo.url}/activations/a.zarr"
    assert listed["activations/a.zarr"].state == "complete"
    assert status(run).without_store == ("b",)


def test_the_shared_root_need_not_be_local(tmp_path):
    zoo, run = Root("memory://prune-zoo"), Root(str(tmp_path / "run"))
    write_images(zoo, np.zeros((8, 4, 4, 3), np.uint8))
    for model in ("a", "b"):
        write_maps(zoo, model, MAPS, block=4)
    share(zoo, run, ("a", "x"), "images.zarr", "activations/a.zarr")
    found = find_leftovers(zoo)
    assert paths(found) == ["activations/b.zarr"]
    assert found.bytes > 0
    remove(zoo, found)
    assert zoo.list("activations") == ["a.zarr"]


def test_bad_input_is_one_line(tmp_path, root):
    with pytest.raises(UserError, match="holds no run"):
        find_leftovers(Root(str(tmp_path / "nothing")))
    with pytest.raises(UserError, match="no such run shares"):
        find_leftovers(root, forget=["somewhere"])
    root.write_bytes("users/1.json", json.dumps({"root": 3}).encode())
    with pytest.raises(UserError, match="is damaged"):
        find_leftovers(root)


def test_weights_for_workers_go_once_no_model_has_them(root, tmp_path):
    (tmp_path / "a.pth").write_bytes(b"of a")
    (tmp_path / "c.pth").write_bytes(b"of another")
    copies = {}
    for name in "ac":
        file = FromFile(name, str(tmp_path / f"{name}.pth"))
        copies[name] = OfferedWeights(root, file.sha256())
        copies[name].offer([(f"{name}.pth", file)])
        group = zarr.open_group(root.local / f"activations/{name}.zarr", mode="r+", use_consolidated=False)
        group.attrs["weights_sha256"] = file.sha256()
    found = find_leftovers(root)
    assert [path for path in paths(found) if path.startswith("weights/")] == [copies["c"].path]
    remove(root, found)
    assert (copies["a"].intact, copies["c"].files) == (True, [])
    # As long as a model has no maps, nobody knows which weights it will take.
    root.remove("activations/b.zarr")
    copies["c"].offer([("c.pth", FromFile("c", str(tmp_path / "c.pth")))])
    assert not [path for path in paths(find_leftovers(root)) if path.startswith("weights/")]

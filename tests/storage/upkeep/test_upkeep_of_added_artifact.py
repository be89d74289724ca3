"""An artifact that is declared outside the catalogue is treated like any other, without another line of code."""

from dataclasses import dataclass

import finished
import numpy as np
import pandas as pd
import pytest

from rosetta.recipe import Recipe
from storage.artifacts import layout, provenance, seals, shared, tables
from storage.artifacts.artifact import Artifact, of_blocks
from storage.artifacts.catalogue import ACTIVATIONS, CATALOGUE, IMAGES, declare
from storage.artifacts.columns import Column
from storage.artifacts.fingerprint import Fingerprint, fingerprint
from storage.artifacts.shared import Place
from storage.artifacts.store import ArtifactStore
from storage.filesystem.root import Root
from storage.upkeep.check import check_root
from storage.upkeep.mend import mend
from storage.upkeep.prune import find_leftovers, remove
from storage.upkeep.sealing import seal_finished, unsealed
from storage.upkeep.status import status

MODELS = ("g", "d", "c")
SCORES = Artifact(
    "scores/{model}.zarr", "store", "model", "scores of each image", (ACTIVATIONS,),
    shareable=True, marker=of_blocks("score"),
)  # fmt: skip
RANKS = Artifact(
    "tables/ranks/{model}.parquet", "table", "model", "ranks of the scores", (SCORES,),
    columns=(Column("rank", "int64", "rank of the image", "1"),),
)  # fmt: skip
CARDS = Artifact("cards/{model}", "folder", "model", "a card for each image", (SCORES,), index="index.json")
ADDED = (SCORES, RANKS, CARDS)


@dataclass(frozen=True)
class ScoreStore(ArtifactStore):
    """`score` (image, class) in blocks of two images."""

    artifact = SCORES

    @classmethod
    def write(cls, root: Root, model: str) -> None:
        group = layout.create_store(root, SCORES.path(model))
        layout.create_array(group, "score", "float32", {"image": (6, 2), "class": 3}, "score")
        layout.create_labels(group, "name", ["cat", "dog", "fox"], "class", "class")
        layout.create_written(group, block=3)
        layout.seal_layout(group, of(model), {"block": 2})
        store = cls(group)
        for block in range(3):
            store.fill(block)
        store.finish()

    def fill(self, block: int) -> None:
        self._array("score")[2 * block : 2 * block + 2] = np.arange(6).reshape(2, 3) + block
        self.mark(block)


def of(model: str) -> Fingerprint:
    return fingerprint("scores", of=model)


@pytest.fixture
def root(tmp_path):
    """A finished run with the added artifacts of each of its models."""
    root = Root(str(finished.write(tmp_path / "root")))
    for artifact in ADDED:
        declare(artifact)
    for model in MODELS:
        ScoreStore.write(root, model)
        tables.write(root, RANKS.path(model), pd.DataFrame({"rank": range(6)}), of(model))
        root.write_bytes(f"{CARDS.path(model)}/0.webp", bytes(range(99)))
        root.write_bytes(f"{CARDS.path(model)}/index.json", b'["0.webp"]')
    yield root
    for artifact in ADDED:
        CATALOGUE.remove(artifact)


def damage(root: Root, file: str) -> None:
    content = bytearray(root.read_bytes(file))
    content[len(content) // 2] ^= 4
    root.write_bytes(file, bytes(content))


def states(root: Root) -> dict[str, str]:
    return {entry.artifact: entry.state for entry in status(root).artifacts}


def without(recipe: Recipe, model: str) -> Recipe:
    return recipe.model_copy(update={"models": tuple(spec for spec in recipe.models if spec.name != model)})


def test_status_lists_those_of_every_model_of_the_recipe(root):
    for artifact in ADDED:
        path = f"{artifact.path('d')}/index.json" if artifact is CARDS else artifact.path("d")
        assert states(root)[path] == "complete"
        root.remove(artifact.path("d"))
        assert states(root)[path] == "missing"
        assert status(root).state == "incomplete"


def test_they_are_sealed_and_any_damaged_file_is_named(root):
    assert {artifact.path("d") for artifact in ADDED} <= set(unsealed(root))
    seal_finished(root)
    assert unsealed(root) == check_root(root) == []
    for artifact in ADDED:
        for file in (*root.find(artifact.path("d")), seals.path(artifact.path("d"))):
            before = root.read_bytes(file)
            damage(root, file)
            (finding,) = check_root(root)
            assert file == finding.artifact or file.startswith(f"{finding.artifact}/c")
            root.write_bytes(file, before)


@pytest.mark.parametrize("sealed", [True, False])
def test_a_damaged_chunk_goes_with_its_marker_and_the_store_is_resumed(root, sealed):
    if sealed:
        seal_finished(root)
    damage(root, f"{SCORES.path('d')}/score/c/1/0")
    assert [finding.part_of for finding in mend(root)] == [SCORES.path("d")]
    assert [(finding.kind, finding.artifact) for finding in check_root(root)] == [("unfinished", SCORES.path("d"))]
    store = ScoreStore.open(root, of("d"), "d")
    assert store.written().tolist() == [True, False, True]
    assert not store.complete
    store.fill(1)
    store.finish()
    assert check_root(root) == []


def test_labels_are_restored_and_a_table_is_removed(root):
    seal_finished(root)
    labels, table = f"{SCORES.path('d')}/name/c/0", RANKS.path("d")
    before = root.read_bytes(labels)
    damage(root, labels)
    damage(root, table)
    assert {finding.artifact for finding in mend(root)} == {labels, table}
    assert root.read_bytes(labels) == before
    assert not root.exists(table)
    assert not root.exists(seals.path(table))
    assert root.exists(RANKS.path("g"))


def test_a_folder_loses_its_damaged_file_and_its_index(root):
    seal_finished(root)
    damage(root, f"{CARDS.path('d')}/0.webp")
    assert len(mend(root)) == 1
    assert root.find(CARDS.path("d")) == []
    assert len(root.find(CARDS.path("g"))) == 2
    assert states(root)[f"{CARDS.path('d')}/index.json"] == "missing"


def test_they_are_pruned_when_their_model_leaves_the_recipe(root):
    seal_finished(root)
    assert find_leftovers(root).leftovers == ()
    provenance.write_recipe(root, without(provenance.stored_recipe(root), "c"))
    leftovers = find_leftovers(root)
    assert {artifact.path("c") for artifact in ADDED} <= {leftover.path for leftover in leftovers.leftovers}
    remove(root, leftovers)
    for artifact in ADDED:
        assert not root.exists(artifact.path("c"))
        assert not root.exists(seals.path(artifact.path("c")))
        assert root.exists(artifact.path("g"))


def test_a_store_is_shared_if_it_is_declared_so(root, tmp_path):
    seal_finished(root)
    run = Root(str(tmp_path / "run"))
    wanted = {SCORES.path("d"): of("d"), SCORES.path("g"): of("another g")}
    places = shared.choose(run, root, wanted)
    assert places[SCORES.path("d")] == Place(root, SCORES.path("d"))
    assert places[SCORES.path("g")].path.startswith("scores/g-"), "the name is taken by another"
    shared.link(run, {path: places[path] for path in (SCORES.path("d"),)})
    provenance.write_recipe(run, provenance.stored_recipe(root))
    assert ScoreStore.read(run, "d").digest == of("d").digest
    entry = next(entry for entry in status(run).artifacts if entry.artifact == SCORES.path("d"))
    assert (entry.state, entry.shared) == ("complete", f"{root.url}/{SCORES.path('d')}")
    damage(root, f"{SCORES.path('d')}/score/c/0/0")
    assert f"{root.url}/{SCORES.path('d')}/score" in {finding.shown for finding in check_root(run)}
    root.remove(provenance.RECIPE)
    leftovers = {leftover.path for leftover in find_leftovers(root).leftovers}
    assert SCORES.path("g") in leftovers
    assert SCORES.path("d") not in leftovers, "the run uses it"
    assert IMAGES.path() in leftovers

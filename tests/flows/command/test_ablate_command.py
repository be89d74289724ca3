"""`rosetta ablate`: what it prints, what it leaves, and what can be wrong."""

import shutil

import causal_runs
import pytest
from command import refused

from storage.artifacts import seals
from storage.filesystem.root import Root
from storage.upkeep.check import check_root

pytestmark = pytest.mark.slow

FEW = ("--images", "2", "--neurons", "0:4", "33", "--random", "5", "--models", "d")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return causal_runs.write(tmp_path_factory.mktemp("causal") / "run").local


def test_neurons_and_concepts(place, tiny, here, tmp_path):
    root = Root(str(shutil.copytree(place, tmp_path / "run")))
    done = tiny.json("ablate", root.url, *FEW)
    assert [stage["outcome"] for stage in done["stages"]] == ["done", "done"]
    assert done["table"] == "tables/causes.parquet"
    assert done["summary"][0]["neurons"]["count"] == 5
    assert done["notes"] == [
        "shapes: 5 random units, so no p of its neurons is below 0.167",
        "no q can reach 0.05; raise --random",
    ]
    other = (*FEW[:1], "3", *FEW[2:])
    words = ("ablations.zarr was made from something else", "images: 2 → 3", "--replace")
    refused(here("ablate", root.url, *other), *words)
    again = tiny("ablate", root.url, *other, "--replace")
    assert again.returncode == 0, again.stderr
    assert "buddies follow their neuron at q ≤ 0.05" in again.stdout
    assert "Table: " in again.stdout
    silenced = tiny.json("ablate", root.url, "--silence", "--images", "2", "--concepts", "0", "1", "--sets", "3")
    assert {(one["concept"], one["model"]) for one in silenced["summary"]} == {(0, "d"), (0, "c"), (1, "d"), (1, "c")}
    for path in ("ablations.zarr", "tables/causes.parquet", "silencings.zarr", "tables/silenced.parquet"):
        assert root.exists(seals.path(path)), path
    assert not [one for one in check_root(root) if "ablations" in one.artifact or "silenc" in one.artifact]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--neurons", "36"], ["no neuron 36", "0 to 35"]),
        (["--neurons", "4:2"], ["'4:2'", "0:20"]),
        (["--neurons", "x"], ["'x'", "like 7"]),
        (["--neurons", "1", "--trusted"], ["is trusted", "leave --trusted out"]),
        (["--models", "e"], ["--models e", "there are d, c"]),
        (["--images", "25"], ["--images 25", "keeps 24"]),
        (["--images", "0"], ["images"]),
        (["--raise", "-1"], ["raise", "-1"]),
        (["--box", "0,0,1,1"], ["--box", "--raise"]),
        (["--raise", "2", "--box", "0,0,2,1"], ["box 0,0,2,1", "fractions"]),
        (["--concepts", "1"], ["unknown key 'concepts'"]),
        (["--silence", "--concepts", "99"], ["concept 99", "0 to 10"]),
        (["--silence", "--neurons", "1"], ["unknown key 'neurons'"]),
        (["--silence", "--sets", "-1"], ["sets", "-1"]),
    ],
)
def test_what_can_be_wrong_is_one_line(place, here, arguments, words):
    refused(here("ablate", place, *arguments), *words)
    assert not list(place.glob("*.lock"))
    assert not (place / "ablations.zarr").exists()
    assert not (place / "silencings.zarr").exists()


def test_roots_that_do_not_fit_are_one_line(here, tmp_path):
    refused(here("ablate", tmp_path), "holds no run")
    alone = causal_runs.write(tmp_path / "alone", {"d": "seer", "c": "classifier"})
    refused(here("ablate", alone.local), "has no generator", "--silence")
    (alone.local / "tables/rosetta.parquet").unlink()
    refused(here("ablate", alone.local, "--silence"), "tables/rosetta.parquet", "rosetta mine first")

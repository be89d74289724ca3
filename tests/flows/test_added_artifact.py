"""A new artifact with its stage comes from one module outside the house; whatever walks over a run knows it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import zarr
from damage import flip
from tinyzoo import recipe_text

from storage.artifacts import layout

pytestmark = pytest.mark.slow

NORMS = '''
"""The store `norms/<model>.zarr`: the root mean square of every unit, one layer after the other."""
import os
import signal

import numpy as np

from flows.plan.stages import declare
from storage.artifacts import layout
from storage.artifacts.activations import ActivationStore
from storage.artifacts.artifact import Artifact, of_layers
from storage.artifacts.catalogue import ACTIVATIONS, declare as add_to_catalogue
from storage.artifacts.fingerprint import fingerprint
from tasks.match.units import WRITE_UNITS
from tasks.plan.stage import Stage

POWER = int(os.environ.get("POWER", "2"))

NORMS = add_to_catalogue(
    Artifact(
        "norms/{model}.zarr", "store", "model", "root mean square of units", (ACTIVATIONS,),
        shareable=True, marker=of_layers,
    )
)

def fingerprint_of(plan, model):
    return fingerprint("norms", activations=plan.fingerprint(ACTIVATIONS, model).digest, power=POWER)

def write_norms(plan, model):
    path, store = NORMS.path(model), ActivationStore.read(plan.root, model)
    layers = [layer.name for layer in store.units.layers]
    group = layout.open_existing(plan.root, path)
    if group is None:
        group = layout.create_store(plan.root, path)
        layout.create_written(group, layer=len(layers))
        for layer in store.units.layers:
            layout.create_array(group.create_group(layer.name), "norm", "float64", {"channel": layer.channels}, "norm")
        rows = [[layer.name, layer.channels, *layer.grid] for layer in store.units.layers]
        layout.seal_layout(group, plan.fingerprint(NORMS, model), {"layers": rows})
    for index, layer in enumerate(layers):
        if layout.written_of(group)[index]:
            continue
        values = store.maps(layer, slice(None)).astype(np.float64)
        group[layer]["norm"][:] = (abs(values) ** POWER).mean(axis=(0, 2, 3)) ** (1 / POWER)
        layout.written_of(group)[index] = True
        if os.environ.get("KILL") == model:
            os.kill(os.getpid(), signal.SIGKILL)
    layout.complete(group)

declare(Stage("norms", (NORMS,), fingerprint_of, write_norms, protected=True), after=WRITE_UNITS)
'''
SCRIPT = """
import norms
from flows.command.main import main
main()
"""


class Added:
    """The command in a process that imported the new module first."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.root, self.recipe = folder / "root", folder / "tiny.toml"
        (folder / "norms.py").write_text(NORMS)
        (folder / "script.py").write_text(SCRIPT)
        self.write(self.recipe, self.root, ("painter", "ada"))
        self._script = folder / "script.py"
        self._environment = {**environment, "PYTHONPATH": f"{environment['PYTHONPATH']}:{folder}"}

    def __call__(self, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(self._script), *map(str, arguments)]
        environment = {**self._environment, **variables}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)

    @staticmethod
    def write(recipe: Path, root: Path, models: tuple[str, ...], more: str = "") -> None:
        recipe.write_text(recipe_text(root, models, more))

    def done(self, *arguments: object, **variables: str) -> list[str]:
        """The stages that had something to do."""
        return [name for name, outcome in self.outcomes(*arguments, **variables).items() if outcome == "done"]

    def outcomes(self, *arguments: object, **variables: str) -> dict[str, str]:
        """What mining it says of each stage."""
        done = self("mine", self.recipe, "--json", *arguments, **variables)
        assert done.returncode == 0, done.stderr
        return {stage["name"]: stage["outcome"] for stage in json.loads(done.stdout)["stages"]}

    def norms(self, model: str) -> zarr.Group:
        return zarr.open_group(self.root / f"norms/{model}.zarr", mode="r")

    def fingerprints(self) -> dict[str, str]:
        return json.loads((self.root / "provenance.json").read_text())["fingerprints"]


def test_an_artifact_from_one_module_is_mined_resumed_recorded_and_replaced(tiny, tmp_path):
    added = Added(tmp_path, tiny.environment)

    # Killed in the middle of the new stage, it resumes there.
    killed = added("mine", added.recipe, KILL="ada")
    assert killed.returncode < 0
    assert layout.markers(added.norms("ada")).tolist() == [True, False]
    first = added.root / "norms/ada.zarr/body.1/norm/c/0"
    stamp = first.stat().st_mtime_ns
    outcomes = added.outcomes()
    assert list(outcomes)[-5:] == ["norms painter", "norms ada", "dictionary", "classes", "report"]
    assert (outcomes["dump ada"], outcomes["units"]) == ("skipped", "skipped")
    assert (outcomes["norms painter"], outcomes["norms ada"]) == ("skipped", "done")
    assert first.stat().st_mtime_ns == stamp
    assert added.norms("ada").attrs["complete"]

    # Provenance lists it, and there is nothing to do a second time, until it is gone.
    assert added.fingerprints()["norms/ada.zarr"] == added.norms("ada").attrs["fingerprint"]
    again = added("mine", added.recipe)
    assert again.stdout.startswith("Nothing to do"), again.stderr
    (added.root / "norms/ada.zarr/zarr.json").unlink()
    assert added.done() == ["norms ada"]

    # Made from something else it is refused, and rebuilt with --replace.
    before = added.norms("ada")["body.1/norm"][:]
    refused = added("mine", added.recipe, POWER="3")
    assert refused.returncode == 2
    assert "norms/painter.zarr was made from something else (power: 2 → 3); give --replace" in refused.stderr
    assert added.done("--replace", POWER="3") == ["norms painter", "norms ada"]
    assert (added.norms("ada")["body.1/norm"][:] > before).all()


def test_an_artifact_from_one_module_is_checked_mended_shared_and_pruned(tiny, tmp_path):
    added = Added(tmp_path, tiny.environment)
    added.outcomes()
    assert "norms/ada.zarr" in added("status", added.root).stdout
    assert added("check", added.root).returncode == 0

    # A flipped bit is found, and only what holds it is rebuilt.
    before = added.norms("ada")["body.1/norm"][:]
    flip(added.root / "norms/ada.zarr/body.1/norm/c", 1, seed=0)
    checked = added("check", added.root)
    assert checked.returncode == 2
    assert "norms/ada.zarr/body.1/norm" in checked.stdout + checked.stderr
    assert added.done("--mend") == ["norms ada"]
    assert (added.norms("ada")["body.1/norm"][:] == before).all()
    assert added("check", added.root).returncode == 0

    # It belongs to nothing once its model has left the recipe.
    added.write(added.recipe, added.root, ("painter", "bob"))
    assert "norms bob" in added.done()
    pruned = added("prune", added.root, "--yes")
    assert "norms/ada.zarr" in pruned.stdout
    assert not (added.root / "norms/ada.zarr").exists()
    assert (added.root / "norms/bob.zarr").exists()

    # Another run uses it where it lies, and puts there what is new.
    other = Added(tmp_path, tiny.environment)
    other.root, other.recipe = tmp_path / "other", tmp_path / "other.toml"
    other.write(other.recipe, other.root, ("painter", "bob", "cyd"), f'from = "{added.root}"\n')
    outcomes = other.outcomes()
    assert (outcomes["norms painter"], outcomes["norms bob"], outcomes["norms cyd"]) == ("skipped", "skipped", "done")
    assert not (other.root / "norms").exists()
    assert (added.root / "norms/cyd.zarr").exists()

"""Units that are known to draw, and detectors that are known to see: ablation tells causes from correlations."""

import multiprocessing
import os
import shutil
import signal

import causal_runs
import causal_zoo
import numpy as np
import pytest
import torch
from scipy.stats import kstest

from flows.ablate import plan_ablation
from rosetta.guidance.ablation import FLOOR
from rosetta.guidance.cause_settings import Ablation
from rosetta.guidance.causes import compared
from rosetta.zoo.maps.writing import Change
from storage.artifacts import seals, tables
from storage.artifacts.catalogue import ABLATIONS, CAUSES, instance_at
from storage.artifacts.causes import AblationStore
from storage.filesystem.root import Root
from storage.upkeep.check import check_root
from storage.upkeep.sealing import seal
from tasks.causes import ablate, ablate_worker
from tasks.causes.run import CausesRun
from tasks.causes.summary import causes_lines, notes, of_causes

SETTINGS = Ablation(images=12, batch=16)


def made(planted, folder, settings):
    """A copy of the run, ablated."""
    root = Root(str(shutil.copytree(planted.local, folder / "run")))
    plan = plan_ablation(root.url, settings)
    assert ablate.fill_ablations(root, plan) == "done"
    assert ablate.make_causes(root, plan) == "done"
    return root, plan


@pytest.fixture(scope="module")
def found(planted, tmp_path_factory):
    return made(planted, tmp_path_factory.mktemp("ablated"), SETTINGS)


def test_the_planted_causes_are_found_and_the_confounded_are_told_apart(found):
    root, _ = found
    table = tables.read(root, CAUSES.path())
    count = len(causal_runs.TRUE)
    assert len(table) == 2 * (count + len(causal_runs.CONFOUNDED))
    for _, rows in table.groupby("model"):
        causes, confounded = rows[rows["rosetta"] < count], rows[rows["rosetta"] >= count]
        assert (causes["causal_q"] <= 0.05).mean() >= 0.95
        assert (causes["causal_effect"] > 0.4).all()
        assert (causes["causal_rank"] < 0.05).all()
        assert (causes["random_effect"].abs() < 0.1).all()
        # They correlate as well as the others, and nothing follows them.
        assert (confounded["causal_q"] > 0.05).all()
        assert (confounded["causal_effect"] == 0).all()
        assert (confounded["causal_change"] < FLOOR).all()
    assert (table["random_units"] == 40).all()
    summary = of_causes(root, 0.05)
    assert [one["model"] for one in summary] == ["d", "c"]
    for one in summary:
        assert one["neurons"]["count"] == len(table) / 2
        assert one["neurons"]["followed"] >= 0.95 * count
        assert one["neurons"]["p_followed"] == one["neurons"]["followed"]
        assert one["random"]["followed"] == 0
        assert one["random"]["share"] < 0.3
    assert all("36 buddies follow" in line for line in causes_lines(summary, 0.05))
    assert notes(root, CAUSES.path()) == [
        "shapes: 40 random units, so no p of its neurons is below 0.0244",
        "q ≤ 0.05 needs at least 49% of the neurons at the least p; more --random ask for fewer",
    ]


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(2, 22))])
def test_whatever_the_latents_causes_are_found_and_confounds_told_apart(tmp_path, seed):
    root = causal_runs.write(tmp_path / "run", {"g": "drawer", "d": "seer"}, seed=seed)
    plan = plan_ablation(root.url, Ablation(images=8, seed=seed))
    assert ablate.fill_ablations(root, plan) == "done"
    assert ablate.make_causes(root, plan) == "done"
    table, count = tables.read(root, CAUSES.path()), len(causal_runs.TRUE)
    causes, confounded = table[table["rosetta"] < count], table[table["rosetta"] >= count]
    assert (causes["causal_q"] <= 0.05).mean() >= 0.95
    assert (confounded["causal_q"] > 0.05).all()
    assert (confounded["causal_effect"] == 0).all()


def test_confounded_units_do_correlate(planted):
    run = CausesRun.open(planted)
    for unit, seen in causal_runs.CONFOUNDED:
        g = run.data.stores["g"].maps("shapes", slice(None))[:, unit]
        d = run.data.stores["d"].maps("see", slice(None))[:, seen]
        assert np.corrcoef(g.ravel(), d.ravel())[0, 1] > 0.6


def test_random_units_have_uniform_p(found):
    root, plan = found
    ablated, effects = plan.ablated, AblationStore.read(root).effects("d")
    random = np.arange(ablated.neurons, len(ablated.units))
    # Each random unit in the place of one neuron after another, asked of that one's buddy.
    draw, p = np.random.default_rng(0), []
    for _ in range(5):
        of_random = effects[ablated.neurons :, causal_runs.FIRST + draw.integers(causal_zoo.NEURONS, size=40)]
        p.append(compared(ablated, random, of_random.diagonal(), of_random).p)
    assert kstest(np.concatenate(p) - 1 / 80, "uniform").pvalue > 0.05
    about = tables.attributes(root, CAUSES.path())["random"]
    assert all(len(p) == 40 and 0.35 < np.mean(p) < 0.65 for p in about.values())


def by_hand(run, plan, model, unit, layer, channel):
    """The effect of one unit on one other, image by image, on the common grid, without anything of the project."""
    drawer, seer = run.model("g").module, run.model(model).module
    std = run.scale(model).std[run.data.stores[model].units.span(layer).start + channel]
    mean, spread = run.scale("g").mean[unit], run.scale("g").std[unit]

    def look(z, value=None):
        kept = {}

        def set_unit(_, __, output):
            kept["g"] = output.clone()
            if value is not None:
                output = output.clone()
                output[:, unit] = value
            return output

        handles = [
            drawer.shapes.register_forward_hook(set_unit),
            seer.get_submodule(layer).register_forward_hook(lambda _, __, output: kept.update(d=output.clone())),
        ]
        with torch.no_grad():
            seer(((drawer(z) + 1) / 2).clamp(0, 1) * 2 - 1)
        for handle in handles:
            handle.remove()
        return kept["g"][:, unit].double(), kept["d"][:, channel].double()

    def on(maps, grid):
        return torch.nn.functional.interpolate(maps[None], grid, mode="bilinear", align_corners=False)[0]

    total, square = 0.0, 0.0
    for image in plan.images:
        z = torch.from_numpy(run.data.pictures.latents(slice(image, image + 1)))
        (g, before), (_, after) = look(z), look(z, mean)
        grid = tuple(np.maximum(g.shape[1:], before.shape[1:]).tolist())
        total += float((on((g - mean) / spread, grid) * on((before - after) / std, grid)).mean())
        square += float(((before - after) / std).square().mean())
    return total / len(plan.images), np.sqrt(square / len(plan.images))


@pytest.mark.parametrize(("layer", "channel"), [("fine", 2), ("see", 7), ("see", 20), ("coarse", 1)])
def test_an_ablation_is_that_of_slow_recomputation(found, layer, channel):
    root, plan = found
    run, store = CausesRun.open(root), AblationStore.read(root)
    place = run.data.stores["d"].units.span(layer).start + channel
    for row in (7, 20, 31, 50):
        effect, change = by_hand(run, plan, "d", int(plan.ablated.units[row]), layer, channel)
        assert store.effects("d")[row, place] == pytest.approx(effect, abs=1e-5)
        assert store.changes("d")[row, place] == pytest.approx(change, abs=1e-5)


def test_raised_in_a_box_the_buddy_rises_there(planted, tmp_path):
    settings = Ablation.model_validate({"images": 3, "raise": 2.0, "box": "0,0,0.5,1", "models": ("d",)})
    root, plan = made(planted, tmp_path, settings)
    run, store = CausesRun.open(root), AblationStore.read(root)
    table = tables.read(root, CAUSES.path())
    assert (table["causal_q"] <= 0.05).sum() == len(causal_runs.TRUE)
    # A texture in its place, in the box alone: the left half of the grid.
    own, seen = 3, causal_runs.FIRST + 3
    texture = causal_zoo.textures()[own].double()
    per_unit = 0.25 * float((texture * texture).sum())
    raised = 2 * run.scale("g").std[own] * per_unit / run.scale("d").std[seen]
    assert store.effects("d")[own, seen] == pytest.approx(raised, rel=1e-3)
    model = run.model("g")
    change = plan.intervention.change(run.scale("g"), np.array([own]))
    assert isinstance(change["shapes"], Change)
    latents = torch.from_numpy(run.data.pictures.latents(slice(0, 1)))
    moved = model.generate(latents, write=change)[0] - model.generate(latents)[0]
    assert (moved[..., : causal_zoo.SIDE // 2] != 0).any()
    assert (moved[..., causal_zoo.SIDE // 2 :] == 0).all()


def files(root, path):
    return {file: root.read_bytes(file) for file in root.find(path)}


def killed(root, plan):
    """Ablate in a process of its own, which is killed in the middle of its third block."""
    array, count = AblationStore._array, []

    def cut(store, *names):
        if names[-1] == "change":
            count.append(names)
            if len(count) == 5:
                os.kill(os.getpid(), signal.SIGKILL)
        return array(store, *names)

    AblationStore._array = cut
    for span in AblationStore.open(root, plan.fingerprint).missing:
        ablate_worker.ablate_block(CausesRun.open(root), plan, span)


def test_a_second_call_goes_on_and_gives_the_same_bytes(planted, found, tmp_path, monkeypatch):
    root = Root(str(shutil.copytree(planted.local, tmp_path / "run")))
    plan = plan_ablation(root.url, SETTINGS)
    ablate.lay_out(CausesRun.open(root), plan)
    process = multiprocessing.get_context("fork").Process(target=killed, args=(root, plan))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    assert AblationStore.open(root, plan.fingerprint).written().tolist() == [True, True, False, False, False]
    assert any(finding.kind == "unfinished" for finding in check_root(root))
    # A tenth of the memory: maps before the intervention are not kept, and are computed again.
    monkeypatch.setattr(ablate_worker, "_KEPT", 1 << 40)
    assert ablate.fill_ablations(root, plan) == "done"
    assert ablate.make_causes(root, plan) == "done"
    whole, _ = found
    for artifact in (ABLATIONS, CAUSES):
        assert files(root, artifact.path()) == files(whole, artifact.path())
    assert ablate.fill_ablations(root, plan) == ablate.make_causes(root, plan) == "skipped"


def test_the_store_and_the_table_are_checked(planted, tmp_path):
    root, _ = made(planted, tmp_path, Ablation(images=1, neurons=("0:3",), random=2, models=("d",)))
    for artifact in (ABLATIONS, CAUSES):
        seal(root, artifact.path())
        assert root.exists(seals.path(artifact.path()))
        assert instance_at(artifact.path()).artifact is artifact

    def damaged():
        return [one.artifact for one in check_root(root) if one.artifact.startswith(("ablations", "tables/causes"))]

    assert damaged() == []
    content = bytearray(root.read_bytes(CAUSES.path()))
    content[len(content) // 2] ^= 1
    root.write_bytes(CAUSES.path(), bytes(content))
    assert damaged() == [CAUSES.path()]
    chunk = next(file for file in root.find(f"{ABLATIONS.path()}/models/d/effect") if "/c/" in file)
    root.remove(chunk)
    assert set(damaged()) == {CAUSES.path(), f"{ABLATIONS.path()}/models/d/effect"}

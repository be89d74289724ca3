"""Inversions on real worker processes: the same results whichever worker makes a batch, and only what is missing."""

from dataclasses import replace

import causal_runs
import numpy as np
import pandas as pd
from causal_zoo import NEURONS
from described import described

from flows.guided import laid_out
from flows.invert import plan_inversion
from rosetta.guidance.settings import Inversion
from storage.artifacts import provenance, tables
from storage.artifacts.catalogue import BUDDIES
from storage.artifacts.fingerprint import fingerprint
from storage.artifacts.guided import Found, GuidedStore
from storage.filesystem.root import Root
from tasks.cluster.engine import local_processes
from tasks.guided.invert import TERMS, Inverting
from tasks.guided.inverting import fill_on_workers

SEARCH = Inversion(images=("0:6",), steps=5, batch=2, models=("d",), schedule="cosine", fade=0.5)


def searched(place) -> tuple[Root, Inverting]:
    """A run whose planted neurons are buddies, with a store of a search of which nothing is done."""
    root = causal_runs.write(place)
    pairs = [
        {"model_a": "g", "unit_a": unit, "layer_a": "shapes", "channel_a": unit, "model_b": "d",
         "unit_b": causal_runs.FIRST + unit, "layer_b": "see", "channel_b": unit, "pearson": 0.9, "rank_ab": 1,
         "rank_ba": 1}
        for unit in range(NEURONS)
    ]  # fmt: skip
    path = BUDDIES.path()
    tables.write(root, path, described(path, pd.DataFrame(pairs)), fingerprint("buddies"))
    plan = plan_inversion(root.url, SEARCH)
    laid_out(plan, ["d"], {"z": plan.run.generator.latent}, SEARCH.steps, TERMS, SEARCH.batch)
    return root, Inverting(plan.fingerprint, plan.where, {"d": SEARCH})


def filled(root: Root, plan: Inverting, cluster: str) -> GuidedStore:
    recipe = provenance.stored_recipe(root)
    compute = recipe.compute.model_copy(update={"cluster": cluster})
    provenance.write_recipe(root, recipe.model_copy(update={"compute": compute}))
    assert fill_on_workers(root, plan) == "done"
    assert fill_on_workers(root, plan) == "skipped"
    return GuidedStore.open(root, plan.fingerprint, plan.where)


def test_workers_make_what_one_process_makes_and_only_what_is_missing(tmp_path):
    whole = filled(*searched(tmp_path / "one"), "threads")
    root, plan = searched(tmp_path / "two")
    store = GuidedStore.open(root, plan.fingerprint, plan.where)
    assert [span.start for _, span in store.missing()] == [0, 2, 4]
    kind, span = store.missing()[1]
    there = Found(*(whole.found(name, span)[kind] for name in ("start", "latent", "frames", "loss")))
    store.write(kind, span, replace(there, latent=there.latent + 1))
    with local_processes(2) as address:
        found = filled(root, plan, address)
    # What was there already is left alone.
    np.testing.assert_array_equal(found.found("latent", span)[kind], there.latent + 1)
    for others in (slice(0, 2), slice(4, 6)):
        for name in ("latent", "frames", "result", "start", "loss"):
            np.testing.assert_array_equal(found.found(name, others), whole.found(name, others))
    act = found.found("loss")[0, :, :, TERMS.index("act")]
    assert np.isnan(act).tolist() == [[False, False, False, True, True, False]] * 6

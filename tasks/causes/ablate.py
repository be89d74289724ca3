"""Stages `ablate` and `causes`: units of G ablated or raised, and whether their buddies follow."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

from rosetta.guidance.causes import compared, ranks
from storage.artifacts import tables
from storage.artifacts.catalogue import CAUSES, ROSETTA
from storage.artifacts.causes import AblationStore
from storage.filesystem.root import Root
from tasks.causes.ablate_worker import Ablating, ablate_block
from tasks.causes.run import CausesRun
from tasks.causes.spread import spread
from tasks.stage.stage import Outcome, stage

Index = npt.NDArray[np.intp]


def lay_out(run: CausesRun, plan: Ablating) -> AblationStore:
    """The store of all blocks, none of them written."""
    return AblationStore.create(
        run.data.root,
        plan.fingerprint,
        units=plan.ablated.units,
        neurons=plan.ablated.neurons,
        models={name: len(run.data.stores[name].units) for name in plan.models},
        block=plan.batch,
    )


def fill_ablations(root: Root, plan: Ablating) -> Outcome:
    """`ablations.zarr`: resume with whatever is missing."""
    run = CausesRun.open(root)
    store = AblationStore.open(root, plan.fingerprint) or lay_out(run, plan)
    if store.complete:
        return "skipped"
    spread("ablate", run, (run.data.anchor, *plan.models), ablate_block, plan, store.missing)
    store.finish()
    return "done"


ablate = stage("ablate")(fill_ablations)


def make_causes(root: Root, plan: Ablating) -> Outcome:
    """`tables/causes.parquet`."""
    if tables.attributes(root, CAUSES.path()).get("fingerprint") == plan.fingerprint.digest:
        return "skipped"
    run = CausesRun.open(root)
    store = AblationStore.read(root)
    frames, random = [], {}
    for name in plan.models:
        frame, of_random = of_model(run, store, plan, name)
        frames.append(frame)
        random[name] = of_random
    units = {name: run.data.stores[name].units for name in run.data.models}
    frame = pd.concat(frames, ignore_index=True).sort_values("rosetta", kind="stable", ignore_index=True)
    about = {"random": random, "notes": notes_of(run, plan)}
    tables.write(root, CAUSES.path(), frame, plan.fingerprint, tables.categories_of(units), **about)
    return "done"


write_causes = stage("causes")(make_causes)


def of_model(
    run: CausesRun, store: AblationStore, plan: Ablating, name: str
) -> tuple[pd.DataFrame, list[float | None]]:
    """The rows of one model, and the p-value of each random unit that is compared in the place of a neuron.

    A random unit takes the place of the neuron that it is most like: it is asked of that one's buddy.
    """
    ablated, layers = plan.ablated, run.data.stores[name].units.layer_index()
    rosetta = run.data.table(ROSETTA)
    own = rosetta[rosetta["model"] == name].set_index("rosetta").loc[plan.neurons["rosetta"]]
    buddies, count = own["unit"].to_numpy(np.intp), ablated.neurons
    effect, change, rank = (np.empty(count) for _ in range(3))
    # Block by block: all effects on all units may be more than memory holds.
    for rows in _spans(0, count, store.block):
        of_rows, mine = store.effects(name, rows), buddies[rows]
        each = np.arange(len(mine))
        effect[rows], change[rows] = of_rows[each, mine], store.changes(name, rows)[each, mine]
        rank[rows] = ranks(of_rows, mine, layers)
    parts = [store.effects(name, rows)[:, buddies] for rows in _spans(count, len(ablated.units), store.block)]
    of_random = np.concatenate([np.empty((0, count)), *parts])
    found = compared(ablated, np.arange(count), effect, of_random)
    frame = pd.DataFrame(
        {
            **{column: plan.neurons[column].to_numpy() for column in ("rosetta", "cluster", "anchor_unit")},
            "model": name,
            **{column: own[column].to_numpy() for column in ("unit", "layer", "channel")},
            "causal_effect": effect,
            "causal_change": change,
            "causal_rank": rank,
            "random_units": found.count.astype(np.int32),
            "random_effect": found.random,
            "causal_p": found.p,
            "causal_q": found.q,
        }
    )
    random = np.arange(count, len(ablated.units))
    in_place = of_random[:, ablated.like[random]]
    p = compared(ablated, random, in_place.diagonal(), in_place).p
    return frame, [None if np.isnan(one) else float(one) for one in p]


def _spans(start: int, stop: int, size: int) -> Iterator[slice]:
    return (slice(first, min(first + size, stop)) for first in range(start, stop, size))


def notes_of(run: CausesRun, plan: Ablating) -> list[str]:
    """What a reader must know of the p-values: the least that are possible, and what that asks of all q-values."""
    ablated, layers = plan.ablated, run.data.stores[run.data.anchor].units.layers
    notes = []
    least_of_all = []
    for layer in np.unique(ablated.layer[: ablated.neurons]):
        first = int(np.flatnonzero(ablated.layer == layer)[0])
        count = len(ablated.random(first))
        least = f"no p of its neurons is below {1 / (1 + count):.3g}" if count else "its neurons have no p"
        notes.append(f"{layers[layer].name}: {count} random units, so {least}")
        least_of_all.append(1 / (1 + count))
    q = run.data.recipe.trust.q
    if (needed := min(least_of_all) / q) > 1:
        notes.append(f"no q can reach {q:g}; raise --random")
    elif needed > 0.1:
        notes.append(
            f"q ≤ {q:g} needs at least {needed:.0%} of the neurons at the least p; more --random ask for fewer"
        )
    return notes

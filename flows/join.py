"""The flow `join`: concepts of several generators, through the discriminative models that saw the images of all."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from prefect import flow

from flows.locking import holding
from rosetta.errors import UserError
from rosetta.mining.join.settings import Joining
from storage.artifacts import seals, tables
from storage.artifacts.catalogue import (
    JOIN_CONCEPTS,
    JOIN_ITSELF,
    JOIN_NULL,
    JOIN_PAIRS,
    JOIN_RECORD,
    REPORT,
    STRENGTHS,
    instances,
)
from storage.artifacts.finished import is_finished
from storage.artifacts.layout import stored_attributes
from storage.artifacts.provenance import write_provenance
from storage.artifacts.shared import Place
from storage.upkeep.sealing import seal, write_sealed
from tasks.join.inputs import JoinPlan, plan_inputs
from tasks.join.strengths import write_strengths
from tasks.join.tables import write_tables, written
from tasks.stage.stage import Outcome, StageResult, run_as_task


@dataclass(frozen=True)
class JoinResult:
    """What a join left."""

    root: str
    stages: tuple[StageResult, ...]
    pairs: dict[str, int]
    """By the generator that is joined with the first: buddies."""
    trusted: dict[str, int]
    by_chance: dict[str, float]
    """Mean number of buddies with the units of the pivots exchanged."""
    concepts: int
    trusted_concepts: int
    itself: list[dict[str, Any]]
    """With `split`: the rows of its table about all layers together."""
    page: str
    figure: str | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def plan_join(roots: Sequence[str], root: str, settings: Joining, replace: bool = False) -> JoinPlan:
    """Check all that a join needs; nothing is written.

    Raises
    ------
    UserError
        The runs do not fit together or are not finished, or another join lies under the root and `replace` is not
        given.
    """
    plan = plan_inputs(roots, root, settings)
    if replace:
        return plan
    ours = {STRENGTHS.path(plan.names[0], plan.names[other]): other for other in plan.others}
    for there in instances(plan.root, lambda artifact: artifact is STRENGTHS):
        stored = stored_attributes(plan.root, there.path)
        if there.path not in ours:
            raise UserError(
                f"{plan.root.shown} holds a join of {' and '.join(there.names)}; give --replace to rebuild it, or"
                " another --root"
            )
        if stored is not None:
            plan.strengths_fingerprint(ours[there.path]).require_match(there.path, stored)
    for table in written(plan):
        if stored := tables.attributes(plan.root, table.path()):
            plan.fingerprint.require_match(table.path(), stored)
    return plan


@flow(name="join", flow_run_name="join {root}", validate_parameters=True)
def join(roots: list[str], root: str, wanted: Joining = Joining(), replace: bool = False) -> JoinResult:
    """Join the runs of several generators through the discriminative models that they have in common.

    Args:
        roots: Roots of two mined runs or more, any fsspec URL. The units of the first name the concepts.
        root: Where the join goes, any fsspec URL; a root of its own.
        wanted: How units are joined.
        replace: Replace a join of something else under the root. Otherwise the flow fails.

    Raises:
        UserError: The runs do not fit together. Nothing has been written then.
    """
    plan = plan_join(roots, root, wanted, replace)
    place = plan.root
    place.require_writable()
    with holding(place):
        if replace:
            _remove_others(plan)
        write_sealed(place, JOIN_RECORD.path(), plan.record())
        stages = []
        for other in plan.others:
            path = STRENGTHS.path(plan.names[0], plan.names[other])
            work = partial(write_strengths, plan, other, replace)
            stages.append(run_as_task(f"strengths {plan.names[other]}", work))
            seal(place, path)
        stages += [run_as_task("tables", partial(_tables, plan)), run_as_task("page", partial(_page, plan))]
        _write_provenance(plan, stages)
    return _result(plan, tuple(stages))


def _remove_others(plan: JoinPlan) -> None:
    """Remove what a join of something else left."""
    ours = {STRENGTHS.path(plan.names[0], plan.names[other]) for other in plan.others}
    for there in instances(plan.root, lambda artifact: artifact is STRENGTHS):
        if there.path not in ours:
            seals.discard(plan.root, there.path)
    if not plan.settings.split:
        seals.discard(plan.root, JOIN_ITSELF.path())


def _tables(plan: JoinPlan) -> Outcome:
    mine = written(plan)
    if all(is_finished(Place(plan.root, one.path()), one, plan.fingerprint.digest) for one in mine):
        return "skipped"
    write_tables(plan)
    for table in mine:
        seal(plan.root, table.path())
    return "done"


def _page(plan: JoinPlan) -> Outcome:
    # Matplotlib and the templates come with it.
    from tasks.join.page import FIGURE, write_page

    if is_finished(Place(plan.root, REPORT.path()), REPORT, plan.fingerprint.digest):
        return "skipped"
    write_page(plan)
    seal(plan.root, REPORT.path())
    if plan.root.exists(FIGURE):
        seal(plan.root, FIGURE)
    return "done"


def _write_provenance(plan: JoinPlan, stages: Sequence[StageResult]) -> None:
    if all(stage.outcome == "skipped" for stage in stages):
        return
    weights = {one.name: one.weights_sha256 for one in plan.pivots}
    for name, run in zip(plan.names, plan.runs, strict=True):
        weights[name] = str(run.stores[run.anchor].attributes["weights_sha256"])
    fingerprints = {table.path(): plan.fingerprint.digest for table in written(plan)}
    for other in plan.others:
        path = STRENGTHS.path(plan.names[0], plan.names[other])
        fingerprints[path] = plan.strengths_fingerprint(other).digest
    of_stages = [stage.as_dict() for stage in stages]
    write_provenance(plan.root, device="cpu", weights=weights, fingerprints=fingerprints, stages=of_stages, retries=0)


def _result(plan: JoinPlan, stages: tuple[StageResult, ...]) -> JoinResult:
    from tasks.join.page import FIGURE, PAGE

    pairs, null, concepts = (tables.read(plan.root, table.path()) for table in (JOIN_PAIRS, JOIN_NULL, JOIN_CONCEPTS))
    itself: list[dict[str, Any]] = []
    if plan.settings.split:
        rows = tables.read(plan.root, JOIN_ITSELF.path())
        itself = rows[rows["layer"] == "all"].to_dict("records")
    of = {name: pairs[pairs["model_b"] == name] for name in plan.names[1:]}
    exchanged = null[null["exchange"] > 0].groupby("model_b")["buddies"].mean()
    return JoinResult(
        plan.root.shown,
        stages,
        {name: len(rows) for name, rows in of.items()},
        {name: int(rows["trusted"].sum()) for name, rows in of.items()},
        {name: float(exchanged[name]) for name in of},
        len(concepts),
        int((concepts["trusted_neurons"] > 0).sum()),
        itself,
        PAGE,
        FIGURE if plan.root.exists(FIGURE) else None,
    )

"""The flow `compare`: what stays of a dictionary in another run of the same models, and what chance would keep."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from prefect import flow

from flows.locking import holding
from rosetta.errors import UserError
from rosetta.mining.compare_settings import Comparing
from storage.artifacts import seals, tables
from storage.artifacts.catalogue import COMPARISON_RECORD, REPORT
from storage.artifacts.finished import is_finished
from storage.artifacts.provenance import write_provenance
from storage.artifacts.shared import Place
from storage.filesystem.root import Root
from storage.upkeep.sealing import seal
from tasks.compare.concepts import concept_counts
from tasks.compare.inputs import ComparePlan, plan_inputs
from tasks.compare.tables import TABLES, Comparison, read_tables, write_tables
from tasks.compare.tables import compare as count
from tasks.stage.stage import Outcome, StageResult, run_as_task


@dataclass(frozen=True)
class CompareResult:
    """What a comparison left."""

    root: str | None
    """None where nothing was written."""
    stages: tuple[StageResult, ...]
    names: tuple[str, ...]
    """Of the runs."""
    differences: list[dict[str, str]]
    overlaps: list[dict[str, Any]]
    """The rows of its table."""
    concepts: dict[str, float | None]
    strengths: list[dict[str, Any]]
    """The rows of its table."""
    page: str | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def plan_compare(first: str, second: str, root: str | None, settings: Comparing, replace: bool = False) -> ComparePlan:
    """Check all that a comparison needs; nothing is written.

    Raises
    ------
    UserError
        The runs cannot be compared, or another comparison lies under the root and `replace` is not given.
    """
    if replace and root is None:
        raise UserError("--replace needs --root: without it nothing is written")
    plan = plan_inputs(first, second, root, settings)
    if plan.root is not None and not replace:
        for table in TABLES:
            if stored := tables.attributes(plan.root, table.path()):
                plan.fingerprint.require_match(table.path(), stored)
    return plan


@flow(name="compare", flow_run_name="compare {first} {second}", validate_parameters=True)
def compare(
    first: str, second: str, root: str | None = None, wanted: Comparing = Comparing(), replace: bool = False
) -> CompareResult:
    """Compare the dictionaries of two runs of the same models.

    Args:
        first: Root of a mined run, any fsspec URL.
        second: Root of another run of the same models: with other seeds, images, K, layers or weights.
        root: Where the comparison goes, any fsspec URL; a root of its own. Default: nothing is written.
        wanted: How the runs are compared.
        replace: Replace a comparison of something else under the root. Otherwise the flow fails.

    Raises:
        UserError: The runs cannot be compared. Nothing has been written then.
    """
    plan = plan_compare(first, second, root, wanted, replace)
    if plan.root is None:
        counted: list[Comparison] = []

        def work() -> Outcome:
            counted.append(count(plan))
            return "done"

        stage = run_as_task("count", work)
        return _result(plan, (stage,), counted[-1])
    plan.root.require_writable()
    with holding(plan.root):
        _write_record(plan, plan.root)
        steps = {"tables": _tables, "page": _page}
        stages = tuple(run_as_task(name, partial(step, plan, plan.root)) for name, step in steps.items())
        _write_provenance(plan, plan.root, stages)
    return _result(plan, stages, read_tables(plan.root))


def _write_record(plan: ComparePlan, root: Root) -> None:
    path, content = COMPARISON_RECORD.path(), plan.record()
    if not root.exists(path) or root.read_bytes(path) != content:
        seals.break_seal(root, path)
        root.write_bytes(path, content)
    seal(root, path)


def _tables(plan: ComparePlan, root: Root) -> Outcome:
    if all(is_finished(Place(root, table.path()), table, plan.fingerprint.digest) for table in TABLES):
        return "skipped"
    write_tables(plan, root)
    for table in TABLES:
        seal(root, table.path())
    return "done"


def _page(plan: ComparePlan, root: Root) -> Outcome:
    if is_finished(Place(root, REPORT.path()), REPORT, plan.fingerprint.digest):
        return "skipped"
    # Matplotlib and the templates come with it.
    from tasks.compare.page import write_page

    write_page(plan, root)
    seal(root, REPORT.path())
    return "done"


def _write_provenance(plan: ComparePlan, root: Root, stages: Sequence[StageResult]) -> None:
    if all(stage.outcome == "skipped" for stage in stages):
        return
    weights = {
        f"{name}/{model}": str(run.stores[model].attributes["weights_sha256"])
        for name, run in zip(plan.names, plan.runs, strict=True)
        for model in plan.units
    }
    fingerprints = {table.path(): plan.fingerprint.digest for table in TABLES}
    of_stages = [stage.as_dict() for stage in stages]
    write_provenance(root, device="cpu", weights=weights, fingerprints=fingerprints, stages=of_stages, retries=0)


def _result(plan: ComparePlan, stages: tuple[StageResult, ...], found: Comparison) -> CompareResult:
    from storage.artifacts.catalogue import Instance

    return CompareResult(
        plan.root.shown if plan.root else None,
        stages,
        plan.names,
        [asdict(one) for one in plan.differences],
        _records(found.overlaps.to_dict("records")),
        _known(concept_counts(found.concepts).as_dict()),
        _records(found.strengths.to_dict("records")),
        Instance(REPORT).index if plan.root else None,
    )


def _records(rows: Sequence[dict[Any, Any]]) -> list[dict[str, Any]]:
    return [_known(row) for row in rows]


def _known(row: dict[Any, Any]) -> dict[str, Any]:
    """With null for what is not a number."""
    return {name: None if value != value else value for name, value in row.items()}

"""The flow `label`: names for concepts and units, from text or from masks."""

from dataclasses import asdict, dataclass
from typing import Any

from prefect import flow

from flows.locking import holding
from flows.report import rewrite
from rosetta.naming.settings import Labelling
from storage.artifacts.artifact import Artifact
from storage.artifacts.finished import is_finished
from storage.artifacts.layout import stored_attributes
from storage.artifacts.shared import Place
from storage.artifacts.tables import attributes
from storage.filesystem.lock import lock_of
from storage.filesystem.root import Root
from storage.upkeep.formats import require_no_upgrade
from storage.upkeep.sealing import seal
from tasks.names import masks, text
from tasks.names.masks import MaskPlan
from tasks.names.text import TextPlan
from tasks.stage.stage import Outcome, StageResult, run_as_task


@dataclass(frozen=True)
class Labelled:
    """What naming left."""

    root: str
    stages: tuple[StageResult, ...]
    summary: dict[str, Any]
    """How many concepts or units have a name, and which."""
    page: str
    """A line about the run's page, which shows them; empty where it has none."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def plan_label(root: str, settings: Labelling, replace: bool = False) -> TextPlan | MaskPlan:
    """Check all that names need; nothing is written.

    Raises
    ------
    UserError
        Something that is named does not exist or does not fit, or there are other names and `replace` is not given.
    """
    require_no_upgrade(Root(root))
    plan = text.plan_text(root, settings) if settings.kind == "text" else masks.plan_masks(root, settings)
    for artifact in () if replace else _artifacts(plan):
        there = _attributes(plan.run.root, artifact)
        if there.get("fingerprint"):
            plan.fingerprint.require_match(artifact.path(), there)
    return plan


@flow(name="label", flow_run_name="label from {wanted.kind}")
def label(root: str, wanted: Labelling, replace: bool = False) -> Labelled:
    """Name the concepts of a run.

    Args:
        root: Root of a mined run, any fsspec URL.
        wanted: Where names come from.
        replace: Replace names that are made from something else. Otherwise the run fails.

    Raises:
        UserError: The settings do not fit the run. Nothing has been written then.
    """
    plan = plan_label(root, wanted, replace)
    place, artifacts = plan.run.root, _artifacts(plan)

    def work() -> Outcome:
        if all(is_finished(Place(place, one.path()), one, plan.fingerprint.digest) for one in artifacts):
            return "skipped"
        if isinstance(plan, TextPlan):
            text.write_labels(plan)
        else:
            masks.write_masks(plan)
        return "done"

    with holding(place, lock_of(artifacts[-1].path())):
        place.require_writable()
        stage = run_as_task(f"label {wanted.kind}", work)
        for artifact in artifacts:
            seal(place, artifact.path())
    kind = text if isinstance(plan, TextPlan) else masks
    return Labelled(place.shown, (stage,), kind.summary(plan.run), rewrite(place))


def _artifacts(plan: TextPlan | MaskPlan) -> tuple[Artifact, ...]:
    return text.artifacts if isinstance(plan, TextPlan) else masks.artifacts


def _attributes(root: Root, artifact: Artifact) -> dict[str, Any]:
    if artifact.kind == "table":
        return attributes(root, artifact.path())
    return stored_attributes(root, artifact.path()) or {}

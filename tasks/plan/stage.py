"""What a stage declares: which artifacts it writes, what they depend on, and how they are made."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from storage.artifacts.artifact import Artifact, Per
from storage.artifacts.fingerprint import Fingerprint
from storage.artifacts.finished import is_finished
from storage.artifacts.shared import turn
from tasks.cluster.reports import listening
from tasks.plan.plan import Plan
from tasks.stage.stage import Outcome, StageResult, run_as_task
from tasks.stage.workers import collecting

Names = tuple[str, ...]
"""None, a model, or the two models of a pair."""


@dataclass(frozen=True)
class Stage:
    """One kind of step of a run."""

    name: str
    """What people read; of a stage that runs for each model or pair, followed by their names."""
    writes: tuple[Artifact, ...]
    """Its artifacts."""
    fingerprint: Callable[..., Fingerprint]
    """Takes the plan and the names of an artifact, and gives what it depends on."""
    work: Callable[..., Outcome | None]
    """Takes the plan and the names of a run of the stage, and makes or resumes its artifacts. It is called while one
    of them is unfinished, and says `skipped` where it finds nothing to do all the same."""
    per: Per | None = None
    """What it runs for; left out: what there is one artifact of."""
    of: Callable[[Plan], Sequence[Names]] | None = None
    """Takes the plan and gives the names of those that it runs for, where that is not all of them."""
    when: Callable[[Plan], bool] = lambda plan: True
    """Takes the plan and says whether the stage is a part of it."""
    protected: bool = False
    """Whether an artifact that was made from something else stays until `--replace` is given, as it took long to make.
    Others are rebuilt."""
    on_cluster: bool = False
    """Whether it needs the workers of `compute.cluster`."""

    def instances(self, plan: Plan) -> Sequence[Names]:
        """The names of each run of the stage."""
        if not self.when(plan):
            return []
        return plan.instances(self.per or self.writes[0].per) if self.of is None else self.of(plan)

    def title(self, names: Names) -> str:
        """What people read of one run of the stage: `correlate a~b`."""
        return " ".join(filter(None, [self.name, "~".join(names)]))

    def artifacts(self, plan: Plan, names: Names = ()) -> list[tuple[Artifact, Names]]:
        """What one run of the stage writes, with the names of each; without names what all of them write."""
        written = [
            (artifact, of)
            for artifact in self.writes
            for of in (plan.instances(artifact.per) if self.of is None else self.of(plan))
            if self.when(plan)
        ]
        return [(artifact, of) for artifact, of in written if not names or of == names]

    def is_finished(self, plan: Plan, names: Names = ()) -> bool:
        """Whether one run of the stage has nothing to do; without names, whether none has."""
        return all(
            is_finished(plan.place(artifact.path(*of)), artifact, plan.digest(artifact, *of))
            for artifact, of in self.artifacts(plan, names)
        )

    def make(self, plan: Plan, names: Names = ()) -> Outcome:
        """Make or resume what one run of the stage writes, unless it is finished."""
        # One that lies under a shared root may have been finished by another run meanwhile.
        with turn(plan.root, *(artifact.path(*of) for artifact, of in self.artifacts(plan, names))):
            return "skipped" if self.is_finished(plan, names) else self.work(plan, *names) or "done"

    def run(self, plan: Plan, names: Names = ()) -> StageResult:
        """:meth:`make` as a task of a Prefect flow, which says under the root what its workers do."""

        def make() -> Outcome:
            with collecting(plan.root) as collector, listening(collector.take, run=plan.root.absolute.url):
                return self.make(plan, names)

        return run_as_task(self.title(names), make)

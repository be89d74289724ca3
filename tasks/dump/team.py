"""The workers that can run some models: asked before they begin, and given weights in the root if they see none."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from rosetta import zoo
from rosetta.errors import UserError
from rosetta.model_spec import ModelSpec
from rosetta.recipe import Compute
from storage.artifacts.offered_weights import OfferedWeights
from storage.filesystem.root import Root
from tasks.cluster.engine import Cluster, Worker
from tasks.dump.worker import Lanes
from tasks.dump.worker_weights import Ability, Lack, ability
from tasks.stage.progress import log

_LOOK = 1.0
"""Seconds after which it looks whether a worker that has not answered is still there."""


class Wanted(Protocol):
    """A model that workers are to run."""

    @property
    def spec(self) -> ModelSpec:
        """As the recipe has it."""

    @property
    def sha256(self) -> str:
        """Of its weights."""

    @property
    def compute(self) -> Compute:
        """Of the run."""


@dataclass
class Team:
    """Workers that run models: those with a GPU, where there are any and the device is not `cpu`."""

    where: Cluster
    root: Root
    jobs: Mapping[str, Wanted]
    """By model."""
    _cores: dict[str, int | None] = field(default_factory=dict)
    """By address of each worker that was asked; None of one that cannot help."""

    @classmethod
    def gathered(cls, where: Cluster, root: Root, jobs: Mapping[str, Wanted]) -> "Team":
        """Ask all workers that are there, and offer weights that some of them do not see.

        Raises
        ------
        UserError
            One lacks a library, or sees the weights neither where the recipe says nor in the root.
        """
        team = cls(where, root, jobs)
        answers = team._answers(team._chosen())
        lacks = [(worker, lack) for worker, answer in answers.items() for lack in answer.lacks]
        for worker, lack in lacks:
            if lack.what != "weights":
                raise team._unable(worker, lack)
        offered = [name for name in dict.fromkeys(lack.model for _, lack in lacks) if team._offer(name)]
        if offered:
            answers |= team._answers({worker for worker, lack in lacks if lack.model in offered})
        for worker, answer in answers.items():
            for lack in answer.lacks:
                raise team._unable(worker, lack)
        team._cores = {worker: answer.cores for worker, answer in answers.items()}
        return team

    @property
    def resources(self) -> dict[str, float] | None:
        """What a piece of work asks of a worker."""
        return {"GPU": 1} if self._needs_gpu else None

    def there(self) -> dict[str, Lanes | None]:
        """By address, the workers that are there now; without lanes those that have not been asked yet."""
        workers = self._chosen()
        beside = Counter(worker.host for worker in workers.values())
        found: dict[str, Lanes | None] = {}
        for address, worker in workers.items():
            if address not in self._cores:
                found[address] = None
            elif (cores := self._cores[address]) is not None:
                writers = self._compute.writers or max(1, cores // beside[worker.host])
                found[address] = Lanes(worker.threads, writers)
        return found

    def ask(self, worker: str) -> Any:
        """Begin to ask a worker that came later; the future of what :meth:`take` takes."""
        models = [(job.spec, job.sha256) for job in self.jobs.values()]
        return self.where.client.submit(ability, self.root, models, workers=[worker], pure=False)

    def take(self, worker: str, answer: Any) -> None:
        """Take the answer of a worker that came later, a future. One that cannot help is left alone."""
        try:
            found = self._answer(worker, answer)
        except Exception as error:  # it has not even this project, or another version of it
            log.warning("compute.cluster: worker %s takes no part (%s: %s)", worker, type(error).__name__, error)
            self._cores[worker] = None
            return
        if found is None:
            return
        if found.lacks:
            log.warning("%s; it takes no part", self._unable(worker, found.lacks[0]))
        self._cores[worker] = None if found.lacks else found.cores

    def _chosen(self) -> dict[str, Worker]:
        workers = self.where.workers()
        return {address: one for address, one in workers.items() if one.gpu or not self._needs_gpu}

    @property
    def _needs_gpu(self) -> bool:
        return self.where.gpu_workers and self._compute.device != "cpu"

    @property
    def _compute(self) -> Compute:
        return next(iter(self.jobs.values())).compute

    def _answers(self, workers: Iterable[str]) -> dict[str, Ability]:
        """What some workers answer; nothing of one that goes away meanwhile."""
        asked = {worker: self.ask(worker) for worker in workers}
        answers = {worker: self._answer(worker, future) for worker, future in asked.items()}
        return {worker: answer for worker, answer in answers.items() if answer is not None}

    def _answer(self, worker: str, future: Any) -> Ability | None:
        """What a worker answers; None where it is gone, as then nobody else may answer for it."""
        while worker in self.where.workers():
            try:
                answer: Ability = future.result(timeout=_LOOK)
            except TimeoutError:
                if future.status == "error":
                    raise
            else:
                return answer
        return None

    def _offer(self, model: str) -> bool:
        """Copy a model's weights to the root, from where this process sees them; False where that is of no use."""
        job = self.jobs[model]
        files = () if job.spec.sae else zoo.weights_files(job.spec)  # its autoencoders would still be lacking
        if files:
            log.info("%s: copying its weights to %s for workers that do not see them", model, self.root.shown)
            OfferedWeights(self.root, job.sha256).offer(files)
        return bool(files)

    def _unable(self, worker: str, lack: Lack) -> UserError:
        if lack.what == "root":
            return UserError(f"compute.cluster: worker {worker} {lack.reason}")
        if lack.what == "library":
            return UserError(
                f"compute.cluster: worker {worker} has no {lack.reason}, which model {lack.model!r} needs; install it"
                " there in the same version"
            )
        return UserError(
            f"compute.cluster: worker {worker} cannot read the weights of model {lack.model!r}: {lack.reason}"
        )

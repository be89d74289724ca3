"""What the flows of guided searches share: a plan under a name of its own, the store that it fills, and its result."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any, Literal

import numpy as np

from flows.locking import holding
from flows.report import relist
from flows.reporting.links import link_guided
from rosetta.guidance.optimise import Descent, frame_steps
from rosetta.guidance.settings import Editing, Inversion, Table
from storage.artifacts import tables
from storage.artifacts.catalogue import EDITS, INVERSIONS, ROSETTA
from storage.artifacts.fingerprint import Fingerprint, fingerprint, format_of
from storage.artifacts.guided import GuidedStore, break_seals, read_table, require_free
from storage.artifacts.layout import stored_attributes
from storage.filesystem.lock import lock_of
from storage.filesystem.root import Root
from storage.upkeep.formats import require_no_upgrade
from storage.upkeep.sealing import seal_guided
from tasks.guided.inputs import Classes, Inputs
from tasks.guided.matches import GuidedRun
from tasks.guided.metrics import summarised
from tasks.stage.stage import StageResult

_NAMED = {"name", "file_class"}
"""Settings that a search does not depend on: its name, and the class of files, as it depends on all classes."""
_EARLIER: Mapping[str, Any] = {
    "weights": (),
    "schedule": "constant",
    "fade": 1.0,
    "judge": None,
    "starts": "random",
    "start_count": None,
    "start_steps": 10,
}
"""What earlier versions did where there is a setting now: with these values a search is one of theirs."""


@dataclass(frozen=True)
class Guided:
    """What an inversion or an edit left."""

    root: str
    where: str
    """`inversions/<name>` or `edits/<name>`."""
    stages: tuple[StageResult, ...]
    summary: list[dict[str, Any]]
    """One entry for each kind of guidance, or for each model that judged."""
    page: str
    """A line on the page of the run, which lists the search."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Plan:
    """A search with all that it needs, known before anything is written."""

    run: GuidedRun
    images: Inputs | None
    """None where no image is behind it."""
    classes: Classes | None
    """(image,) of a conditional generator, else None; one class where no image is behind it."""
    where: str
    fingerprint: Fingerprint

    @property
    def root(self) -> Root:
        """Of the run."""
        return self.run.data.root

    @property
    def at(self) -> tuple[Root, Fingerprint, str]:
        """Where it is written and what it depends on, as the stages take it."""
        return self.root, self.fingerprint, self.where

    @contextmanager
    def claimed(self, replace: bool) -> Iterator[None]:
        """Hold the name while the search is written, and seal what it wrote.

        Others may search under the same root at the same time. With `replace` the name is taken from what another
        search left there.
        """
        with holding(self.root, lock_of(self.where)):
            self.root.require_writable()
            if replace:
                stored = stored_attributes(self.root, GuidedStore.path(self.where))
                if stored is not None and stored["fingerprint"] != self.fingerprint.digest:
                    break_seals(self.root, self.where)
                    self.root.remove(self.where)
            yield
            seal_guided(self.root, self.where)


def plan_of(
    run: GuidedRun,
    kind: Literal["invert", "table", "edit"],
    settings: Inversion | Table | Editing,
    replace: bool,
    images: Inputs | None,
    classes: Classes | None,
    **depends: Any,
) -> Plan:
    """A plan whose name is free.

    Parameters
    ----------
    depends
        What its fingerprint holds beside the dictionary, pixels, classes and settings.

    Raises
    ------
    UserError
        The name is in use by another search, and `replace` is not given; or an upgrade of the run was cut short.
    """
    require_no_upgrade(run.data.root)
    root, where = run.data.root, (EDITS if kind == "edit" else INVERSIONS).path(settings.name)
    if classes is not None:
        depends["classes"] = classes.tolist()
    dictionary = tables.attributes(root, ROSETTA.path())
    own = fingerprint(
        kind,
        dictionary=dictionary.get("fingerprint"),
        pixels_sha256="" if images is None else sha256(np.ascontiguousarray(images.pixels).tobytes()).hexdigest(),
        settings=settings.model_dump(mode="json", exclude=_NAMED | _as_before(settings)),
        **depends,
    ).in_format(format_of(dictionary))
    if not replace:
        require_free(root, where, own)
    return Plan(run, images, classes, where, own)


def guided_of(plan: Plan, stages: list[StageResult]) -> Guided:
    """A finished search: means, spreads and paired differences of its metrics; links to it are left."""
    metrics = read_table(plan.root, plan.where, "metrics", plan.fingerprint)
    assert metrics is not None
    summary = summarised(metrics)
    link_guided(plan.root, plan.where, plan.run.data.name, summary)
    return Guided(plan.root.shown, plan.where, tuple(stages), summary, relist(plan.root))


def laid_out(
    plan: Plan, guidance: Sequence[str], latent: Mapping[str, int], steps: int, terms: Sequence[str], batch: int
) -> GuidedStore:
    """The store of a search, new or to resume."""
    store = GuidedStore.open(plan.root, plan.fingerprint, plan.where)
    if store is not None:
        return store
    size = plan.run.generator.image_size
    assert size is not None
    return GuidedStore.create(
        plan.root,
        plan.where,
        plan.fingerprint,
        model=plan.run.data.anchor,
        guidance=guidance,
        sources=("asked",) if plan.images is None else plan.images.sources,
        targets=None if plan.images is None else plan.images.pixels,
        classes=plan.classes,
        size=size,
        latent=latent,
        frame_steps=frame_steps(Descent(steps)),
        steps=steps,
        terms=terms,
        batch=batch,
    )


def shown_settings(settings: Inversion | Table) -> list[tuple[str, str]]:
    """Name and value of all that was asked, as a page tells it."""
    values = settings.model_dump(mode="json", by_alias=True, exclude=_as_before(settings))
    return [(name, _shown(value)) for name, value in values.items() if value not in (None, [], ())]


def _as_before(settings: Inversion | Table | Editing) -> set[str]:
    """Settings that came later and change nothing."""
    values = settings.model_dump()
    return {name for name, value in _EARLIER.items() if name in values and values[name] == value}


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value)

"""What a join is of: runs of generators, and the discriminative models that looked at the images of all of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import tomli_w

from rosetta.errors import UserError
from rosetta.mining.join.settings import Joining
from rosetta.units import Units
from storage.artifacts.catalogue import JOIN_RECORD, STRENGTHS
from storage.artifacts.correlations import CorrelationStore
from storage.artifacts.fingerprint import Fingerprint, fingerprint
from storage.artifacts.nearest import pair_store
from storage.artifacts.neighbours import NeighbourStore
from storage.artifacts.store import layer_rows
from storage.filesystem.root import Root
from storage.run.members import RunMembers
from tasks.roots import require_distinct, root_of_its_own, told_apart

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Pivot:
    """A discriminative model that looked at the images of every generator."""

    name: str
    """In the first run."""
    names: tuple[str, ...]
    """In each run."""
    control: bool
    """Whether it is a control in any of them."""
    units: Units
    weights_sha256: str


@dataclass(frozen=True)
class Correlated:
    """Correlations of a generator's units with those of a pivot, from whichever store a run keeps."""

    store: CorrelationStore | NeighbourStore

    def part(self, rows: slice, columns: slice) -> Float32:
        """(generator unit, pivot unit) of some of either; −inf where there is no correlation, or none was kept."""
        values = self.store.part(rows, columns)
        return np.where(np.isnan(values), np.float32(-np.inf), values)

    def least_kept(self) -> Float32:
        """(generator unit,) no correlation that was not kept is higher; −inf where all were."""
        if isinstance(self.store, NeighbourStore):
            return self.store.least_kept()
        return np.full(self.store.units[0], -np.inf, np.float32)


@dataclass(frozen=True)
class JoinPlan:
    """A join, with all that it needs."""

    root: Root
    """Where it goes."""
    runs: tuple[RunMembers, ...]
    pivots: tuple[Pivot, ...]
    """Those that are no controls first."""
    settings: Joining

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of the generators, as the join calls them: numbered where several have one name."""
        return told_apart([run.anchor for run in self.runs])

    @property
    def others(self) -> range:
        """The generators that are joined with the first, by their place among the runs."""
        return range(1, len(self.runs))

    @property
    def trained(self) -> list[int]:
        """The pivots that are no controls, by their place."""
        return [place for place, pivot in enumerate(self.pivots) if not pivot.control]

    @property
    def neighbours(self) -> int:
        """K."""
        return self.settings.neighbours or self.runs[0].recipe.matching.neighbours

    def units(self, run: int) -> Units:
        """Of the generator of a run."""
        return self.runs[run].stores[self.runs[run].anchor].units

    @cached_property
    def _correlated(self) -> dict[tuple[int, int], Correlated]:
        return {
            (place, number): Correlated(pair_store(run.root, run.anchor, pivot.names[place]))
            for place, run in enumerate(self.runs)
            for number, pivot in enumerate(self.pivots)
        }

    def correlated(self, run: int, pivot: int) -> Correlated:
        """How the generator of a run correlates with a pivot."""
        return self._correlated[run, pivot]

    def strengths_fingerprint(self, other: int) -> Fingerprint:
        """Of the strengths between the first generator and another."""
        return fingerprint(
            "strengths",
            generators=[self.names[0], self.names[other]],
            pivots=[pivot.name for pivot in self.pivots],
            controls=[pivot.name for pivot in self.pivots if pivot.control],
            correlations=[
                [self.correlated(run, pivot).store.digest for pivot in range(len(self.pivots))] for run in (0, other)
            ],
        )

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """Of the tables and the page."""
        return fingerprint(
            "join",
            strengths=[self.strengths_fingerprint(other).depends for other in self.others],
            anchor=pair_store(self.runs[0].root, self.runs[0].anchor, self.runs[0].anchor).digest,
            **{**self.settings.model_dump(mode="json"), "neighbours": self.neighbours},
        )

    def record(self) -> bytes:
        """`join.toml`."""
        digests = [run.stores[run.anchor].attributes["weights_sha256"] for run in self.runs]
        about: dict[str, Any] = {
            **self.settings.model_dump(mode="json"),
            "neighbours": self.neighbours,
            "fingerprint": self.fingerprint.digest,
            "generators": [
                {"name": name, "run": run.name, "root": run.root.absolute.shown, "model": run.anchor,
                 "weights_sha256": digest, "images": run.seen}
                for name, run, digest in zip(self.names, self.runs, digests, strict=True)
            ],
            "pivots": [
                {"name": one.name, "names": list(one.names), "control": one.control,
                 "weights_sha256": one.weights_sha256}
                for one in self.pivots
            ],
            "strengths": {
                STRENGTHS.path(self.names[0], self.names[other]): self.strengths_fingerprint(other).digest
                for other in self.others
            },
        }  # fmt: skip
        return tomli_w.dumps(about).encode()


def plan_inputs(roots: Sequence[str], out: str, settings: Joining) -> JoinPlan:
    """Open the runs and find what they have in common; nothing is written.

    Raises
    ------
    UserError
        There are fewer than two runs, one of them stands twice, is not finished or has no generator, they have no
        trained model in common, or one name stands for several models.
    """
    if len(roots) < 2:
        raise UserError("a join takes two runs or more; give their roots: rosetta join ROOT1 ROOT2 --root OUT")
    require_distinct(roots, "mine other images of its generator (images.seed) and join the two with --split")
    place = root_of_its_own(out, JOIN_RECORD)
    runs = tuple(RunMembers.open(root) for root in roots)
    for run in runs:
        if run.generator is None:
            raise UserError(f"{run.root.shown} has no generator, and a join is of generators; leave it out")
        if run.recipe.matching.correlation != runs[0].recipe.matching.correlation:
            raise UserError(
                f"{runs[0].root.shown} and {run.root.shown} differ in matching.correlation; mine both with the same"
            )
    plan = JoinPlan(place, runs, tuple(_common(runs)), settings)
    try:
        plan.fingerprint  # noqa: B018 - opens all correlations
    except FileNotFoundError as error:
        raise UserError(f"{error}; end the run with rosetta mine first") from None
    if settings.split:
        _require_apart(runs)
    return plan


def _identity(run: RunMembers, model: str) -> tuple[str, str]:
    """What makes a model the same in two runs: its weights, and the layers that were captured."""
    store = run.stores[model]
    return str(store.attributes["weights_sha256"]), str(layer_rows(store.units))


def _common(runs: Sequence[RunMembers]) -> Iterator[Pivot]:
    known = [{_identity(run, name): name for name in reversed((*run.targets, *run.controls))} for run in runs]
    for (a, of_a), (b, of_b) in combinations(zip(runs, known, strict=True), 2):
        names_b = {name: identity for identity, name in of_b.items()}
        for (sha256, layers), name in of_a.items():
            other = names_b.get(name)
            if other is not None and other != (sha256, layers):
                what = f"weights ({sha256[:12]} and {other[0][:12]})" if other[0] != sha256 else "layers"
                raise UserError(
                    f"model {name!r} has other {what} in {a.root.shown} than in {b.root.shown}; give one of the two"
                    " another name, or mine both with the same"
                )
    found = []
    for (sha256, layers), name in reversed(known[0].items()):
        names = tuple(of_run.get((sha256, layers), "") for of_run in known)
        if all(names):
            control = any(of in run.controls for of, run in zip(names, runs, strict=True))
            found.append(Pivot(name, names, control, runs[0].stores[name].units, sha256))
    if all(pivot.control for pivot in found):
        theirs = "; ".join(f"{run.root.shown} has {', '.join(run.targets)}" for run in runs)
        raise UserError(
            f"the runs have no trained discriminative model in common ({theirs}); mine them with one of the same"
            " weights and layers"
        )
    yield from sorted(found, key=lambda pivot: pivot.control)


def _require_apart(runs: Sequence[RunMembers]) -> None:
    """
    Raises
    ------
    UserError
        The runs are not of one generator, or have images in common.
    """
    first = runs[0]
    for run in runs[1:]:
        if _identity(run, run.anchor) != _identity(first, first.anchor):
            raise UserError(
                f"--split takes runs of one generator, and {first.root.shown} and {run.root.shown} have others; leave"
                " --split out"
            )
    latents = [{row.tobytes() for row in run.pictures.latents(slice(None))} for run in runs]
    for (a, of_a), (b, of_b) in combinations(zip(runs, latents, strict=True), 2):
        if both := len(of_a & of_b):
            raise UserError(
                f"--split takes runs over images apart, and {a.root.shown} and {b.root.shown} have {both:,} in common;"
                " mine one of them with another images.seed"
            )

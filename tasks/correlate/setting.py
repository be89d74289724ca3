"""How pairs of models are correlated: on what, within which memory, and in which tiles."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rosetta.mining.groups import Group, Pair, plan_groups
from rosetta.mining.moments import Precision
from rosetta.mining.plan import Side
from rosetta.mining.rank.plan import plan_ranks
from storage.artifacts.activations import ActivationStore
from tasks.cluster.engine import Capacity
from tasks.correlate.reading import skips_zeros, sparse_layers
from tasks.plan import Plan

_GPU_TASKS = 2
"""Tasks at once on a GPU of this process: one multiplies while the other adds up or writes, and the cores read for
them. With a task for each core tiles are small, and each of them reads its models anew: on an H100 beside 16 cores a
pair of 36,864 and 4,096 units read its maps eleven times."""


@dataclass(frozen=True)
class Setting:
    """How and where a pair is correlated."""

    cluster: str = "threads"
    """`threads`, or a scheduler's address."""
    threads: int = 1
    """Of this process."""
    memory: int = 2 << 30
    """Bytes that one worker may hold beyond what it holds when idle."""
    device: str = "cpu"
    precision: Precision = "float32"
    correlation: str = "pearson"
    keep: str = "matrix"
    keep_neighbours: int = 32
    ahead: int = 0
    """How many threads of each task read its next block beside the work on this one. Where all cores work and the root
    is a disk of this machine, that only takes memory: measured, 8 % more processor time and no second less."""

    @classmethod
    def of(cls, plan: Plan) -> "Setting":
        """What a recipe asks for."""
        compute, matching = plan.recipe.compute, plan.recipe.matching
        # Elsewhere there may be other devices than here.
        device = compute.device if "://" in compute.cluster else plan.facts.device
        return cls(
            plan.facts.cluster,
            plan.facts.threads,
            compute.memory_bytes,
            device,
            compute.precision,
            matching.correlation,
            matching.keep,
            matching.keep_neighbours,
            ahead=int(device != "cpu" or plan.root.local is None),
        )

    @property
    def skips_zeros(self) -> bool:
        """Whether layers that are mostly zeros are read and multiplied without them, wherever tasks run."""
        return self.correlation == "pearson" and skips_zeros(self.device, self.precision)

    def multiplying(self) -> "Setting":
        """The same where little is done but to multiply: few tasks on a GPU of this process, with many readers."""
        if not self.device.startswith("cuda") or self.cluster != "threads" or self.correlation != "pearson":
            return self
        tasks = min(self.threads, _GPU_TASKS)
        return replace(self, threads=tasks, ahead=max(1, self.threads // tasks))


def plan_for(setting: Setting, sides: Mapping[str, Side], pairs: Sequence[Pair], where: Capacity) -> list[Group]:
    """How some pairs are cut up and read together.

    Parameters
    ----------
    sides
        By model.

    Raises
    ------
    UserError
        The memory is too small for one of them.
    """
    room: dict[str, Any] = {
        "memory": setting.memory,
        "threads": where.threads,
        "workers": where.workers,
        "fewer": where.fewer,
    }
    if setting.correlation == "pearson":
        return plan_groups(sides, pairs, ahead=setting.ahead, **room)
    plans = (plan_ranks(sides[a], sides[b], pair=f"{a}~{b}", **room) for a, b in pairs)
    return [Group((pair,), (plan,)) for pair, plan in zip(pairs, plans, strict=True)]


def plan_side(store: ActivationStore, setting: Setting | None = None) -> Side:
    """What a plan needs to know of a store; `setting` says how its maps are correlated, if they are."""
    skips = setting is not None and setting.skips_zeros
    return Side(store.units, store.images, store.chunk, sparse_layers(store) if skips else frozenset())

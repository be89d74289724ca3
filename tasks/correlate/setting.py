"""How pairs of models are correlated: on what, within which memory, and in which tiles."""

from dataclasses import dataclass

from rosetta.mining.moments import Precision
from rosetta.mining.plan import PairPlan, Side, plan_pair
from rosetta.mining.rank.plan import plan_ranks
from storage.artifacts.activations import ActivationStore
from tasks.cluster.engine import Capacity
from tasks.plan import Plan


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

    @classmethod
    def of(cls, plan: Plan) -> "Setting":
        """What a recipe asks for."""
        compute, matching = plan.recipe.compute, plan.recipe.matching
        return cls(
            plan.facts.cluster,
            plan.facts.threads,
            compute.memory_bytes,
            # Elsewhere there may be other devices than here.
            compute.device if "://" in compute.cluster else plan.facts.device,
            compute.precision,
            matching.correlation,
            matching.keep,
            matching.keep_neighbours,
        )


def plan_for(setting: Setting, pair: str, a: Side, b: Side, where: Capacity) -> PairPlan:
    """The plan of a pair.

    Raises
    ------
    UserError
        The memory is too small for it.
    """
    planner = {"pearson": plan_pair, "spearman": plan_ranks}[setting.correlation]
    return planner(
        a,
        b,
        memory=setting.memory,
        threads=where.threads,
        workers=where.workers,
        fewer=where.fewer,
        pair=pair,
    )


def plan_side(store: ActivationStore) -> Side:
    """What a plan needs to know of a store."""
    return Side(store.units, store.images, store.chunk)

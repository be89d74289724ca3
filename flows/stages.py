"""Groups of stages that more than one flow runs."""

from collections.abc import Iterator
from contextlib import contextmanager

from flows.survey import Survey
from storage.features import FeatureStore
from tasks.correlate import Setting
from tasks.dictionary import write_dictionary
from tasks.engine import local_processes
from tasks.match import write_units
from tasks.profile import Subject, profile
from tasks.report import write_report
from tasks.stage import Stage
from tasks.trust import judge_pair
from tasks.trust_table import join_trust, reason_not_to, reservations


def judging_stages(plan: Survey, setting: Setting) -> list[Stage]:
    """Say which matches mean something, where buddies and pixel features are there."""
    root, matching = plan.root, plan.recipe.matching
    subjects = [Subject(spec.name, plan.profile(spec), plan.partners(spec.name)) for spec in plan.models]
    stages = [profile(root, subjects, setting)]
    features = FeatureStore.read(root)
    reason = reason_not_to(features.shape[0], features.distinct, matching.correlation)
    for a, b in plan.pairs:
        stages.append(judge_pair(root, plan.trust_part((a, b)), a, b, matching.neighbours, reason, setting))
    notes = [reason] if reason else reservations(features.shape[0], features.distinct, plan.controls)
    stages.append(join_trust(root, plan.trust, plan.pairs, plan.controls, plan.recipe.trust, notes))
    return stages


def dictionary_stages(plan: Survey) -> list[Stage]:
    """What follows from matches and how far they can be trusted: the tables of units and concepts, and the page."""
    root = plan.root
    return [
        write_units(root, plan.units, [spec.name for spec in plan.models]),
        write_dictionary(root, plan.dictionary, plan.anchor, plan.asked),
        write_report(root, plan.report, plan.recipe, plan.anchor, plan.models),
    ]


@contextmanager
def cluster_of(plan: Survey, needed: bool) -> Iterator[str]:
    """Where pairs are compared: `threads`, or the address of a scheduler, started here if it is to be `local`.

    Parameters
    ----------
    needed
        Whether there is anything to do; if not, none is started.
    """
    compute = plan.recipe.compute
    if compute.cluster == "local" and needed:
        with local_processes(compute.workers or plan.threads) as address:
            yield address
    else:
        yield "threads" if compute.cluster == "local" else compute.cluster

"""Groups of stages that more than one flow runs."""

from collections.abc import Iterator
from contextlib import contextmanager

from flows.plan.plan import Survey
from storage.artifacts import shared
from storage.artifacts.catalogue import PROFILES
from storage.artifacts.features import FeatureStore
from storage.artifacts.shared import Place
from storage.filesystem.root import Root
from tasks.cluster.engine import local_processes
from tasks.correlate.setting import Setting
from tasks.match.dictionary import write_dictionary
from tasks.match.units import write_units
from tasks.report.page import write_report
from tasks.stage.stage import Stage
from tasks.trust.pair import judge_pair
from tasks.trust.profile import Subject, profile
from tasks.trust.table import join_trust, reason_not_to, reservations


def share_stores(plan: Survey) -> None:
    """Write down which images, activations and features lie under the root that the recipe shares."""
    of_models = [PROFILES.path(spec.name) for spec in plan.models]
    shared.link(plan.root, plan.places, kept=of_models if plan.recipe.images.from_ else ())


def are_linked(plan: Survey) -> bool:
    """Whether that is written down."""
    before = shared.shared_places(plan.root)
    linked = all(before.get(path) == Place(place.root.absolute, place.path) for path, place in plan.places.items())
    return linked and (plan.recipe.images.from_ is not None or not before)


def _share_profiles(plan: Survey) -> None:
    """The same of the profiles, whose fingerprints follow from the activations of all models."""
    if (home := plan.recipe.images.from_) is None:
        return
    before = shared.shared_places(plan.root)
    wanted = {PROFILES.path(spec.name): plan.profile(spec) for spec in plan.models}
    chosen = shared.choose(plan.root, Root(home), wanted)
    shared.link(plan.root, chosen, kept=[path for path in before if path not in wanted])


def judging_stages(plan: Survey, setting: Setting) -> list[Stage]:
    """Say which matches mean something, where buddies and pixel features are there."""
    root, matching = plan.root, plan.recipe.matching
    _share_profiles(plan)
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

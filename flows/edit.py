"""The flow `edit`: change an image by changing the maps of its Rosetta neurons."""

from prefect import flow

from flows.guided import Guided, Plan, guided_of, laid_out, plan_of
from rosetta.guidance.edits import Join, clusters_of
from rosetta.guidance.settings import Editing
from storage.filesystem.root import Root
from tasks.guided.edit import GUIDANCE, TERMS, edit_batch, judge_edits
from tasks.guided.inputs import Inputs, read_inputs, require_class, require_files
from tasks.guided.matches import GuidedRun
from tasks.guided.page import Story, write_page


def plan_edit(root: str, settings: Editing, replace: bool = False) -> tuple[Plan, dict[str, Inputs]]:
    """Check all that an edit names; nothing is written.

    Returns
    -------
    tuple
        The plan, and the other images that edits take from.

    Raises
    ------
    UserError
        Something that is named does not exist or does not fit.
    """
    run = GuidedRun.open(Root(root))
    for cluster in clusters_of(settings.parsed):
        run.data.require_concept(cluster)
    require_class(run.generator, settings.file_class)
    images = read_inputs(run.data, run.generator, settings.images, settings.file_class)
    joined = dict.fromkeys(edit.image for edit in settings.parsed if isinstance(edit, Join))
    others = {name: read_inputs(run.data, run.generator, (name,), settings.file_class) for name in joined}
    require_files([images, *others.values()], settings.file_class)
    digests = {name: other.sha256 for name, other in others.items()}
    return plan_of(run, "edit", settings, replace, images, images.classes, others=digests), others


@flow(name="edit", flow_run_name="edit {wanted.name}")
def edit(root: str, wanted: Editing, replace: bool = False) -> Guided:
    """Edit images of the generator. Image files are inverted first.

    Args:
        root: Root of a mined run, any fsspec URL.
        wanted: The images, and how to change them.
        replace: Replace another result of the same name. Otherwise the run fails.

    Raises:
        UserError: The settings do not fit the run. Nothing has been written then.
    """
    plan, others = plan_edit(root, wanted, replace)
    latent = plan.run.generator.latent
    assert plan.images is not None
    assert latent is not None
    words = ", then ".join(f"{word} {value}" for word, value in wanted.edits)
    numbers = ("rest", "near", "steps", "rate", "batch", "seed")
    settings = [("edits", words), *((name, f"{getattr(wanted, name):g}") for name in numbers)]
    story = Story(f"Asked for: {words}.", settings, plan.run.data.targets, clusters_of(wanted.parsed) or None)
    with plan.claimed(replace):
        store = laid_out(plan, (GUIDANCE,), {"z": latent}, wanted.steps, TERMS, wanted.batch)
        stages = [
            edit_batch(*plan.at, wanted, plan.images, others, first)
            for first in range(0, len(plan.images), store.block)
        ]
        stages.append(judge_edits(*plan.at, wanted, others))
        stages.append(write_page(*plan.at, story, wanted, others))
    return guided_of(plan, stages)

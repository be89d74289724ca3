"""The flow `edit`: change an image by changing the maps of its Rosetta neurons."""

from prefect import flow

from flows.invert import Guided, Plan, guided_of, laid_out, plan_of
from rosetta.guidance.edits import Join, clusters_of
from rosetta.guidance.settings import Editing
from storage.filesystem.root import Root
from tasks.guided.classes import require_class
from tasks.guided.edit import GUIDANCE, TERMS, edit_batch, judge_edits
from tasks.guided.inputs import Inputs, read_inputs, require_files
from tasks.guided.matches import GuidedRun
from tasks.guided.page import Story, write_page


def plan_edit(root: str, wanted: Editing, replace: bool = False) -> tuple[Plan, dict[str, Inputs]]:
    """Check all that an edit names; nothing is written.

    Returns
    -------
    tuple
        The plan, and the other images that edits take from.

    Raises
    ------
    UserError
        Something that was asked for is not to be had.
    """
    run = GuidedRun.open(Root(root))
    for cluster in clusters_of(wanted.parsed):
        run.data.require_concept(cluster)
    require_class(run.generator, wanted.file_class)
    images = read_inputs(run.data, run.generator, wanted.images, wanted.file_class)
    joined = dict.fromkeys(edit.image for edit in wanted.parsed if isinstance(edit, Join))
    others = {name: read_inputs(run.data, run.generator, (name,), wanted.file_class) for name in joined}
    require_files([images, *others.values()], wanted.file_class)
    digests = {name: other.sha256 for name, other in others.items()}
    where = f"edits/{wanted.name}"
    return plan_of(run, images, images.classes, where, replace, "edit", wanted, others=digests), others


@flow(name="edit", flow_run_name="edit {wanted.name}")
def edit(root: str, wanted: Editing, replace: bool = False) -> Guided:
    """Edit images of the generator, or files that are inverted first.

    Args:
        root: Root of a mined run, any fsspec URL.
        wanted: Which images, and what is asked of them.
        replace: Take the name from another edit, instead of refusing.

    Raises:
        UserError: Something that was asked for is not to be had; nothing has been written then.
    """
    plan, others = plan_edit(root, wanted, replace)
    latent, place = plan.run.generator.latent, (plan.root, plan.fingerprint, plan.where)
    assert plan.images is not None
    assert latent is not None
    words = ", then ".join(f"{word} {value}" for word, value in wanted.edits)
    numbers = ("rest", "near", "steps", "rate", "batch", "seed")
    settings = [("edits", words), *((name, f"{getattr(wanted, name):g}") for name in numbers)]
    story = Story(f"Asked for: {words}.", settings, plan.run.data.targets, clusters_of(wanted.parsed) or None)
    with plan.claimed(replace):
        store = laid_out(plan, (GUIDANCE,), {"z": latent}, wanted.steps, TERMS, wanted.batch)
        stages = [
            edit_batch(*place, wanted, plan.images, others, first) for first in range(0, len(plan.images), store.batch)
        ]
        stages.append(judge_edits(*place, wanted, others))
        stages.append(write_page(*place, story, wanted, others))
    return guided_of(plan, stages)

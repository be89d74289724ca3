"""The flow `edit`: change an image by changing the maps of its Rosetta neurons."""

from prefect import flow

from flows.invert import NAMED, Guided, Plan, claim, guided_of, laid_out, opened, plan_of
from flows.locking import holding
from rosetta.guidance.edits import Join, clusters_of
from rosetta.guidance.optimise import Descent
from rosetta.guidance.settings import Editing
from storage.artifacts.catalogue import EDITS
from storage.upkeep.sealing import seal_guided
from tasks.guided.classes import require_class
from tasks.guided.edit import GUIDANCE, TERMS, Wish, edit_batch, judge_edits
from tasks.guided.inputs import Subjects, require_files, subjects
from tasks.guided.matches import require_clusters
from tasks.guided.page import Story, write_page


def plan_edit(root: str, wanted: Editing, replace: bool = False) -> tuple[Plan, dict[str, Subjects]]:
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
    place, steering, device, generator = opened(root)
    require_clusters(steering, clusters_of(wanted.parsed))
    seed = steering.recipe.images.seed
    require_class(generator, wanted.file_class)
    images = subjects(place, generator, seed, wanted.images, wanted.file_class)
    joined = dict.fromkeys(edit.image for edit in wanted.parsed if isinstance(edit, Join))
    others = {name: subjects(place, generator, seed, (name,), wanted.file_class) for name in joined}
    require_files([images, *others.values()], wanted.file_class)
    settings = wanted.model_dump(mode="json", exclude=NAMED)
    stamps = {name: other.sha256 for name, other in others.items()}
    plan = plan_of(
        place,
        steering,
        device,
        generator,
        images,
        images.classes,
        EDITS.path(wanted.name),
        replace,
        "edit",
        settings=settings,
        others=stamps,
    )
    return plan, others


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
    assert plan.images is not None
    assert plan.generator.latent is not None
    descent = Descent(wanted.steps, wanted.rate)
    wish = Wish(wanted.parsed, wanted.rest, wanted.near, descent, wanted.seed)
    place, where, mark, device = plan.root, plan.where, plan.mark, plan.device
    with holding(plan.root, plan.lock):
        claim(plan, replace)
        store = laid_out(plan, (GUIDANCE,), {"z": plan.generator.latent}, wanted.steps, TERMS, wanted.batch)
        stages = [
            edit_batch(place, mark, where, wish, plan.images, others, first, device)
            for first in range(0, len(plan.images), store.batch)
        ]
        stages.append(judge_edits(place, mark, where, wish, others, device))
        words = ", then ".join(f"{word} {value}" for word, value in wanted.edits)
        knobs = ("rest", "near", "steps", "rate", "batch", "seed")
        settings = (("edits", words), *((name, f"{getattr(wanted, name):g}") for name in knobs))
        story = Story("edit", plan.steering.recipe.name, f"Asked for: {words}.", settings)
        named = clusters_of(wish.edits) or None
        stages.append(write_page(place, mark, where, story, plan.steering.models, named, wish, others, device))
        seal_guided(place, where)
    return guided_of(plan, stages)

"""The flow `edit`: change an image by changing the maps of its Rosetta neurons."""

from dataclasses import asdict

from prefect import flow

from flows.invert import Guided, claim, opened, summary_of, upstream
from rosetta.guidance.edits import Join, clusters_of
from rosetta.guidance.optimise import Descent, frame_steps
from rosetta.guidance.settings import Editing
from storage.fingerprint import fingerprint
from storage.guided import GuidedStore
from tasks.edit import GUIDANCE, TERMS, Wish, edit_batch, judge_edits
from tasks.guided_page import Story, write_page
from tasks.steering import require_clusters
from tasks.subjects import subjects


@flow(name="edit", flow_run_name="edit {wanted.name}", validate_parameters=False)
def edit(root: str, wanted: Editing, replace: bool = False) -> Guided:
    """Edit images of the generator, or files that are inverted first.

    Raises
    ------
    UserError
        Something that was asked for is not to be had; nothing has been written then.
    """
    place, steering, device, generator = opened(root)
    edits = wanted.parsed
    require_clusters(steering, clusters_of(edits))
    seed = steering.recipe.images.seed
    images = subjects(place, generator, seed, wanted.images)
    joined = dict.fromkeys(edit.image for edit in edits if isinstance(edit, Join))
    others = {name: subjects(place, generator, seed, (name,)) for name in joined}
    wish = Wish(edits, wanted.rest, wanted.near, Descent(wanted.steps, wanted.rate), wanted.seed)
    where = f"edits/{wanted.name}"
    depends = upstream(place, images)
    mark = fingerprint("edit", settings=wanted.model_dump(mode="json", exclude={"name"}), **depends)
    claim(place, where, mark, replace)
    store = GuidedStore.open(place, where, mark)
    if store is None:
        assert generator.image_size is not None
        assert generator.latent is not None
        store = GuidedStore.create(
            place,
            where,
            mark,
            guidance=(GUIDANCE,),
            sources=images.sources,
            targets=images.pixels,
            size=generator.image_size,
            latent={"z": generator.latent},
            frame_steps=frame_steps(wish.descent),
            steps=wanted.steps,
            terms=TERMS,
            batch=wanted.batch,
        )
    stages = [
        edit_batch(place, mark, where, wish, images, others, first, device)
        for first in range(0, len(images), store.batch)
    ]
    stages.append(judge_edits(place, mark, where, wish, others, device))
    words = ", then ".join(f"{word} {value}" for word, value in wanted.edits)
    settings = tuple((name, f"{value}") for name, value in asdict(wish).items() if name != "edits")
    story = Story("edit", steering.recipe.name, f"Asked for: {words}.", (("edits", words), *settings))
    stages.append(
        write_page(place, mark, where, story, steering.models, clusters_of(edits) or None, wish, others, device)
    )
    return Guided(place.shown, where, tuple(stages), summary_of(place, where, mark))

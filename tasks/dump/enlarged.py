"""Images that models see larger than they are."""

from operator import gt

from storage.artifacts.catalogue import ACTIVATIONS, IMAGES
from storage.artifacts.finished import is_finished
from storage.artifacts.images import ImageStore
from tasks.plan import Plan
from tasks.stage.progress import log


def say_enlarged(plan: Plan) -> None:
    """Warn once for a run where models take larger images than there are; not where all of their maps are there."""
    images = ImageStore.open(plan.place(IMAGES.path()).root, plan.fingerprint(IMAGES))
    if images is None or all(
        is_finished(plan.place(ACTIVATIONS.path(name)), ACTIVATIONS, plan.digest(ACTIVATIONS, name))
        for name in plan.names
    ):
        return
    seen = {name: plan.facts.models[name].image_size for name in plan.names}
    larger = {name: size for name, size in seen.items() if size is not None and any(map(gt, size, images.size))}
    if not larger:
        return
    named = ", ".join(f"{name} ({size[0]} × {size[1]})" for name, size in larger.items())
    remedy = ""
    if plan.facts.generator is None:
        remedy = f"; images.size = {max(max(size) for size in larger.values())} would show them all that they take"
    log.warning("images: %s × %s pixels are enlarged for %s%s", *images.size, named, remedy)

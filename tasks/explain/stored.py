"""Stage `explain`: Grad-CAM maps of images of a run in `explanations/<name>.zarr`, in terms of its concepts."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from rosetta.errors import UserError
from rosetta.zoo.grad_cam import grad_cams
from storage.artifacts.catalogue import EXPLANATIONS, instances
from storage.artifacts.explanations import ExplanationStore, ImageExplanation
from storage.artifacts.fingerprint import Fingerprint, fingerprint
from storage.artifacts.layout import stored_attributes
from storage.run.data import RunData
from storage.run.members import RunMembers
from tasks.explain.explain import RANDOM, Explanation, classifier, concept_units, fits_of, in_order, random_units
from tasks.stage.progress import track
from tasks.stage.stage import Outcome, stage

BATCH = 8
"""Images that go through a model at once, and that lie in a block of the store."""
_RANGE = re.compile(r"(\d+)?:(\d+)?")


@dataclass(frozen=True)
class Explaining:
    """Which images are explained, and for which class at which layer."""

    model: str
    images: npt.NDArray[np.intp]
    """(image,) indices in the run, rising."""
    index: int | None
    """Of the class; None for the likeliest of each image."""
    layer: str | None
    """None for the last that the class depends on."""
    name: str
    """Of the store."""
    fingerprint: Fingerprint

    @property
    def path(self) -> str:
        """Of the store under the root."""
        return EXPLANATIONS.path(self.name)


def plan_explaining(
    run: RunMembers, images: str | None, model: str, index: int | None, layer: str | None
) -> Explaining:
    """Check all that an explanation of images of a run names; nothing is written.

    Parameters
    ----------
    images
        An index, `7`, or a range, `0:16`; None for all.

    Raises
    ------
    UserError
        There is no such model, class, layer or image, or the model has no classifier.
    """
    loaded, chosen = classifier(run, model), _chosen(run, images)
    # One image tells whether the class and the layer are there.
    grad_cams(loaded, run.pixels(chosen[:1]), index, None if layer is None else [layer])
    parts = [model, _slug(images or "all")]
    parts += [] if index is None else [f"class-{index}"]
    parts += [] if layer is None else [_slug(layer)]
    asked = {"class": index, "layer": layer, "images": chosen.tolist()}
    made = fingerprint("explain", None, settings=asked, random=RANDOM, **_subject(run, model))
    return Explaining(model, chosen, index, layer, ".".join(parts), made)


def is_for_run_images(text: str) -> bool:
    """Whether a text names images of the run, rather than a file."""
    return text.isdecimal() or (text != ":" and _RANGE.fullmatch(text) is not None)


def fill_explanations(run: RunMembers, plan: Explaining) -> Outcome:
    """`explanations/<name>.zarr`: go on with whatever is missing."""
    store = ExplanationStore.open(run.root, plan.fingerprint, plan.name)
    if store is not None and store.complete:
        return "skipped"
    loaded, own = classifier(run, plan.model), concept_units(run, plan.model)
    layers, random = None if plan.layer is None else [plan.layer], random_units(run, plan.model, own)

    def found(span: slice) -> tuple[str, list[ImageExplanation]]:
        each, layer = grad_cams(loaded, run.pixels(plan.images[span]), plan.index, layers), ""
        rows = []
        for one in each:
            (layer,) = one.cams
            fit, random_share = fits_of(one, layer, own, random)
            facts = one.index, one.name, one.score, one.probability, fit.share, random_share
            rows.append(ImageExplanation(*facts, one.cams[layer], fit.pearson, fit.weight))
        return layer, rows

    with track("explain", len(plan.images)) as advance:
        if store is None:
            span = slice(0, min(BATCH, len(plan.images)))
            layer, rows = found(span)
            store = ExplanationStore.create(
                run.root,
                plan.fingerprint,
                plan.name,
                images=plan.images,
                concepts=own,
                model=plan.model,
                layer=layer,
                grid=(rows[0].cam.shape[0], rows[0].cam.shape[1]),
                block=BATCH,
            )
            store.write(span, rows)
            advance(len(rows))
        for span in store.missing:
            store.write(span, found(span)[1])
            advance(span.stop - span.start)
    store.finish()
    return "done"


explain_images = stage("explain {plan.model}")(fill_explanations)


def explanations(run: RunMembers, name: str) -> Iterator[Explanation]:
    """The explanations of a store, image by image."""
    store = ExplanationStore.read(run.root, name)
    model, layer = store.attributes["model"], store.attributes["layer"]
    own = concept_units(run, model)
    for image, one in zip(store.images.tolist(), store.found(), strict=True):

        def map_of(row: "pd.Series[Any]", image: int = image) -> npt.NDArray[np.float32]:
            return np.asarray(run.unit(model, int(row["unit"])).maps([image])[0], np.float32)

        facts = one.index, one.label, one.score, one.probability, one.cam
        ordered = in_order(own, one.pearson, one.weight)
        pixels = run.pixels(image)[0]
        shares = one.share, one.random_share
        yield Explanation(f"image {image}", pixels, model, layer, *facts, ordered, *shares, map_of)


def current_stores(run: RunData) -> list[ExplanationStore]:
    """The finished explanations of a run that are of its dictionary as it is now."""
    subjects: dict[str, dict[str, str]] = {}
    found = []
    for instance in instances(run.root, lambda artifact: artifact is EXPLANATIONS):
        attributes = stored_attributes(run.root, instance.path) or {}
        model = str(attributes.get("model"))
        if attributes.get("complete") and model in run.stores:
            subject = subjects.setdefault(model, _subject(run, model))
            if all(attributes["depends"].get(key) == value for key, value in subject.items()):
                found.append(ExplanationStore.read(run.root, *instance.names))
    return found


def _subject(run: RunData, model: str) -> dict[str, str]:
    """What explanations of a model depend on beside what is asked for: its maps, and the units of concepts in it.

    Another judgement of the same matches changes nothing about them.
    """
    own = concept_units(run, model)
    columns = ["cluster", "unit"]
    digest = sha256(own[columns].to_csv(index=False).encode())
    digest.update(own[["mean", "std"]].to_numpy(np.float64).tobytes())
    return {"maps": run.stores[model].digest, "units_sha256": digest.hexdigest()}


def _chosen(run: RunData, images: str | None) -> npt.NDArray[np.intp]:
    if images is None:
        return run.image_indices
    if images.isdecimal():
        chosen: int | slice = int(images)
    else:
        start, stop = (int(part) if part else None for part in images.split(":"))
        chosen = slice(start, stop)
    positions = np.unique(run.chosen(chosen))
    if not len(positions):
        raise UserError(f"{images} names no image of {run.root.shown}; its images are 0 to {run.seen - 1}")
    return run.image_indices[positions]


def _slug(text: str) -> str:
    """A text as a part of a name of an artifact."""
    return re.sub(r"[^a-z0-9._]+", "-", text.lower()).strip("-") or "0"

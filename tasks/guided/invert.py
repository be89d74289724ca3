"""One search of an inversion, in memory or for a batch of a store; wherever the work is spread to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from rosetta.guidance.invert import Guide, high_target, invert, observed_target
from rosetta.guidance.latent import space_of
from rosetta.guidance.matches import Matches
from rosetta.guidance.objective import Measure, pixel_error
from rosetta.guidance.optimise import Descent, Optimised, Report
from rosetta.guidance.perceptual import Lpips, feature_distance
from rosetta.guidance.settings import Inversion
from rosetta.guidance.starts import Starts, early_steps, mined_count
from rosetta.guidance.weights import weighed
from rosetta.zoo.image_arrays import from_pixels, to_pixels
from storage.artifacts.fingerprint import Fingerprint
from storage.artifacts.guided import Found, GuidedStore
from tasks.guided.inputs import Classes, class_tensor
from tasks.guided.matches import GuidedRun
from tasks.guided.nearest import latents_at, nearest_stored, nearest_to_images
from tasks.stage.progress import Advance, track

TERMS = ("rec", "reg", "act")
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Inverting:
    """What is searched for in all batches of a store."""

    fingerprint: Fingerprint
    where: str
    """`inversions/<name>`."""
    searches: Mapping[str, Inversion]
    """Kind of guidance → its settings."""


def invert_batch(run: GuidedRun, plan: Inverting, batch: tuple[int, slice]) -> None:
    """Invert one batch of a store's images under one kind of guidance, which may be done twice."""
    root, (kind, span) = run.data.root, batch
    store = GuidedStore.open(root, plan.fingerprint, plan.where)
    assert store is not None
    guidance = store.guidance[kind]
    title = f"{plan.where} {guidance}, {span_title(span)}"
    images = range(span.start, span.stop)
    result = search(run, plan.searches[guidance], store.targets(span), store.classes(span), images, title)
    store.write(kind, span, to_store(result, TERMS))


def search(
    run: GuidedRun, settings: Inversion, targets: Pixels | None, classes: Classes | None, images: range, title: str
) -> Optimised:
    """One search in memory.

    Parameters
    ----------
    targets
        (image, y, x, rgb); None where only `settings.high` says what is asked for.
    classes
        (image,) of a conditional generator, else None.
    images
        Their indices among all, which decide about their starts.
    """
    generator = run.generator
    space = space_of(generator, settings.space, class_tensor(classes))
    rec: Measure | None = None
    act = mined = None
    count = mined_count(settings.starts, settings.candidates)
    if targets is None:
        assert settings.box is not None
        units = run.matches.units_of(settings.clusters or ())
        act = high_target(run.matches.generator, units, settings.box, generator.device)
        if count:
            mined = nearest_stored(run, {run.data.anchor: act}, classes, count, f"{title}: nearest mined images")
    else:
        pixels = from_pixels(targets, generator.device)
        rec = _reconstruction(run, settings, pixels)
        matches = guiding_matches(run, settings)
        if settings.first_beta > 0 and len(matches):
            act = observed_target(matches, {name: run.model(name) for name in set(matches.model)}, pixels)
        if count:
            # Without guidance, too, so that both begin at the same images.
            compared = matches if len(matches) else run.matches
            mined = nearest_to_images(run, compared, pixels, classes, count, f"{title}: nearest mined images")
    guide = Guide(rec, act, settings.alpha, settings.first_beta)
    starts = Starts(
        images,
        settings.seed,
        settings.restarts,
        settings.starts,
        settings.candidates,
        settings.start_steps,
        None if mined is None else torch.from_numpy(latents_at(run.data, mined.index)),
    )
    early = early_steps(settings.candidates, settings.restarts, settings.start_steps)
    descent = Descent(settings.steps, settings.rate, fade=settings.beta_fade)
    with track(title, early + settings.steps) as advance:
        return invert(space, guide, starts, descent, tell_steps(advance))


def guiding_models(run: GuidedRun, settings: Inversion) -> tuple[str, ...]:
    """The models whose matches guide."""
    return run.data.targets if settings.models is None else settings.models


def guiding_matches(run: GuidedRun, settings: Inversion) -> Matches:
    """The matches that guide, with what they count; those that count nothing are left out."""
    chosen = run.matches.only(models=guiding_models(run, settings), clusters=settings.clusters, above=settings.above)
    return weighed(chosen, settings.weights)


def tell_steps(advance: Advance) -> Report:
    """Progress by one step, with the losses beside it."""
    return lambda losses: advance(1, "  ".join(f"{name} {value:.4f}" for name, value in losses.items()))


def to_store(result: Optimised, terms: Sequence[str]) -> Found:
    """As it goes to the store, with the losses in the order of `terms`."""
    loss = np.full((len(result.latents), result.losses.shape[1], len(terms)), np.nan, np.float32)
    for column, term in enumerate(result.terms):
        loss[:, :, terms.index(term)] = result.losses[:, :, column].cpu().numpy()
    frames = to_pixels(result.frames.flatten(0, 1)).reshape(*result.frames.shape[:2], *result.frames.shape[3:], 3)
    return Found(result.start.cpu().numpy(), result.latents.cpu().numpy(), frames, loss)


def span_title(images: slice) -> str:
    """`image 3`, or `images 0 to 15`."""
    last = images.stop - 1
    return f"image {last}" if images.start == last else f"images {images.start} to {last}"


def _reconstruction(run: GuidedRun, settings: Inversion, targets: torch.Tensor) -> Measure | None:
    if settings.rec == "none":
        return None
    if settings.rec == "pixels":
        return pixel_error(targets)
    if settings.rec == "lpips":
        assert settings.lpips is not None
        return Lpips(settings.lpips).measure(targets)
    return feature_distance(run.model(settings.rec), targets)

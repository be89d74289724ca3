"""Stage `edit`: the maps of an image's Rosetta neurons changed, and the latents that make the changed maps."""

from collections.abc import Mapping, Sequence
from dataclasses import fields

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from rosetta.errors import UserError
from rosetta.guidance.activation import Maps
from rosetta.guidance.edited_maps import EditedMaps, edited_maps
from rosetta.guidance.judge import Judgement, judge
from rosetta.guidance.latent import space_of
from rosetta.guidance.objective import edit_objective
from rosetta.guidance.optimise import Descent, optimise
from rosetta.guidance.settings import Editing, Inversion
from rosetta.zoo.image_arrays import from_pixels
from rosetta.zoo.model import Model
from storage.artifacts.fingerprint import Fingerprint
from storage.artifacts.guided import GuidedStore, read_table, write_table
from storage.artifacts.images import ImageStore
from storage.filesystem.root import Root
from tasks.guided.forecast import forecast, positions_of, record
from tasks.guided.inputs import Classes, Inputs, class_tensor
from tasks.guided.invert import search, span_title, tell_steps, to_store
from tasks.guided.matches import GuidedRun
from tasks.stage.progress import track
from tasks.stage.stage import Outcome, stage

TERMS = ("edit", "rest", "near")
GUIDANCE = "edit"
Pixels = npt.NDArray[np.uint8]


@stage("edit {where} from image {first}")
def edit_batch(
    root: Root,
    fingerprint: Fingerprint,
    where: str,
    settings: Editing,
    images: Inputs,
    others: Mapping[str, Inputs],
    first: int,
) -> Outcome:
    """Edit one batch of a store's images."""
    store = GuidedStore.open(root, fingerprint, where)
    assert store is not None
    span = next((span for _, span in store.missing() if span.start == first), None)
    if span is None:
        return "skipped"
    run = GuidedRun.open(root)
    device, classes = run.generator.device, store.classes(span)
    start = known_latents(run, images, span, settings)
    edited = edited_maps_of_generator(run, start, classes, settings, others)
    touched = edited.touched()
    if not len(touched):
        raise UserError("the edits change no unit of a Rosetta neuron; name a concept that has some")
    told = forecast(
        run,
        edited,
        generated_maps(run, start, classes),
        positions_of(run.data, images, span),
        classes,
        f"{where}, {span_title(span)}: mined images",
    )
    rows = pd.DataFrame({"image": np.arange(span.start, span.stop), "source": images.sources[span]})
    record(root, fingerprint, where, run.data, told, rows)
    rest = np.setdiff1d(edited.units, touched)
    space, descent = space_of(run.generator, classes=class_tensor(classes)), Descent(settings.steps, settings.rate)
    start, changed = start.to(device), edited.target(touched, device)
    stays = edited.target(rest, device) if len(rest) else None
    objective = edit_objective(space, start, changed, stays, settings.rest, settings.near)
    with track(f"{where}, {span_title(span)}", settings.steps) as advance:
        result = optimise(objective, start, descent, tell_steps(advance))
    store.write(0, span, to_store(result, TERMS))
    return "done"


@stage("judge {where}")
def judge_edits(
    root: Root, fingerprint: Fingerprint, where: str, settings: Editing, others: Mapping[str, Inputs]
) -> Outcome:
    """`metrics.parquet`: what each discriminative model sees of every edit, and all of them together."""
    store = GuidedStore.open(root, fingerprint, where)
    assert store is not None
    store.finish()
    if read_table(root, where, "metrics", fingerprint) is not None:
        return "skipped"
    run = GuidedRun.open(root)
    frames, after = store.found("frames")[0], store.found("result")[0]
    shown = frames[:, 0], after, _unrelated(run.data.pictures, store.sources)
    judgements = {name: judged(run, name, settings, shown, others) for name in run.data.targets}
    columns = [_columns(judgement) for judgement in judgements.values()]
    means = {name: np.mean([of_model[name] for of_model in columns], axis=0) for name in columns[0]}
    judgements["all"] = Judgement(**means)
    images = {"image": np.arange(len(store.sources)), "source": store.sources}
    told = read_table(root, where, "forecast", fingerprint)
    known = np.full(len(store.sources), np.nan)
    if told is not None:
        known[told["image"]] = told["forecast"]
    table = [
        pd.DataFrame({"model": name, **images, **_columns(judgement), "worked": judgement.worked, "forecast": known})
        for name, judgement in judgements.items()
    ]
    write_table(root, where, "metrics", pd.concat(table, ignore_index=True), fingerprint)
    return "done"


def known_latents(run: GuidedRun, images: Inputs, span: slice, settings: Editing) -> Tensor:
    """(image, z): an image of G has its own; a file is inverted first, with all matches."""
    latents = torch.from_numpy(images.latents[span].copy())
    files = np.flatnonzero(images.files[span])
    if len(files):
        inversion = Inversion(restarts=4, seed=settings.seed, steps=max(settings.steps, 300))
        classes = None if images.classes is None else images.classes[span][files]
        pixels = images.pixels[span][files]
        result = search(run, inversion, pixels, classes, range(len(files)), "inverting files")
        latents[torch.from_numpy(files)] = result.latents.cpu()
    return latents


def edited_maps_of_generator(
    run: GuidedRun, start: Tensor, classes: Classes | None, settings: Editing, others: Mapping[str, Inputs]
) -> EditedMaps:
    """The edits on G's own maps of the images before, whose latents and classes are given."""
    theirs = {}
    for name, other in others.items():
        latents = known_latents(run, other, slice(0, 1), settings)
        theirs[name] = generated_maps(run, latents, None if other.classes is None else other.classes[:1])
    units = run.strongest(run.data.anchor)
    return edited_maps(run.matches.generator, units, generated_maps(run, start, classes), settings.parsed, theirs)


def judged(
    run: GuidedRun,
    name: str,
    settings: Editing,
    shown: tuple[Pixels, Pixels, Pixels],
    others: Mapping[str, Inputs],
) -> Judgement:
    """What a model sees of the images before and after, and of unrelated ones."""
    model, edits = run.model(name), settings.parsed
    before, after, unrelated = (_observed(model, pixels) for pixels in shown)
    theirs = {key: _observed(model, other.pixels[:1]) for key, other in others.items()}
    edited = edited_maps(run.statistics(name), run.strongest(name), before, edits, theirs)
    return judge(edited, edits, before, after, unrelated)


def generated_maps(run: GuidedRun, latents: Tensor, classes: Classes | None) -> dict[str, Tensor]:
    """(image, channel, y, x) by layer, what G puts out for latents."""
    return _cpu(run.generator.generate(latents, class_tensor(classes))[1])


def _observed(model: Model, pixels: Pixels) -> dict[str, Tensor]:
    return _cpu(model.observe(from_pixels(pixels, model.device)))


def _cpu(maps: Maps) -> dict[str, Tensor]:
    return {name: values.cpu().clone() for name, values in maps.items()}


def _unrelated(store: ImageStore, sources: Sequence[str]) -> Pixels:
    """(image, y, x, rgb): for each image another one of the run."""
    chosen = []
    for number, source in enumerate(sources):
        index = (37 * number + 11) % store.count
        chosen.append((index + 1) % store.count if source == f"image {index}" else index)
    return np.concatenate([store.pixels(slice(index, index + 1)) for index in chosen])


def _columns(judgement: Judgement) -> dict[str, npt.NDArray[np.float64]]:
    return {field.name: getattr(judgement, field.name) for field in fields(judgement)}

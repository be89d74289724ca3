"""Stage `edit`: the maps of an image's Rosetta neurons changed, and the latents that make the changed maps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from rosetta.errors import UserError
from rosetta.guidance.activation import Maps
from rosetta.guidance.edit import EditGuide, edit
from rosetta.guidance.edited_maps import EditedMaps, edited_maps
from rosetta.guidance.edits import Edit
from rosetta.guidance.judge import Judgement, judge
from rosetta.guidance.latent import space_of
from rosetta.guidance.optimise import Descent
from rosetta.zoo.image_arrays import from_pixels
from rosetta.zoo.model import Model
from storage.artifacts.catalogue import IMAGES
from storage.artifacts.fingerprint import Fingerprint
from storage.artifacts.guided import GuidedStore, read_table, write_table
from storage.artifacts.images import ImageStore
from storage.artifacts.layout import open_complete
from storage.filesystem.root import Root
from tasks.guided.classes import Classes, told
from tasks.guided.inputs import Subjects
from tasks.guided.invert import Row, Search, found_of, run, shown_span, step_told
from tasks.guided.matches import Steering, loaded, read_steering
from tasks.stage.progress import track
from tasks.stage.stage import Outcome, stage

TERMS = ("edit", "rest", "near")
GUIDANCE = "edit"
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Wish:
    """What an edit is asked for, and how it is searched."""

    edits: tuple[Edit, ...]
    rest: float
    near: float
    descent: Descent
    seed: int


@stage("edit {where} from image {first}")
def edit_batch(
    root: Root,
    wanted: Fingerprint,
    where: str,
    wish: Wish,
    images: Subjects,
    others: Mapping[str, Subjects],
    first: int,
    device: str,
) -> Outcome:
    """Edit one batch of a store's images."""
    store = GuidedStore.open(root, wanted, where)
    assert store is not None
    todo = next((span for _, span in store.missing() if span.start == first), None)
    if todo is None:
        return "skipped"
    steering = read_steering(root)
    generator = loaded(steering.generator, device)
    classes = store.classes(todo)
    space = space_of(generator, classes=told(classes))
    start = known_latents(steering, images, todo, wish, device)
    asked = asked_of_generator(steering, start, classes, wish.edits, others, wish, device)
    touched = asked.touched()
    rest = np.setdiff1d(asked.units, touched)
    if not len(touched):
        raise UserError("the edits change no unit of a Rosetta neuron; name a concept that has some")
    guide = EditGuide(
        asked.target(touched, generator.device),
        asked.target(rest, generator.device) if len(rest) else None,
        wish.rest,
        wish.near,
    )
    with track(f"{where}, {shown_span(todo)}", wish.descent.steps) as advance:
        way = edit(space, guide, start.to(generator.device), wish.descent, step_told(advance))
    store.write(0, todo, found_of(way, TERMS))
    return "done"


@stage("judge {where}")
def judge_edits(
    root: Root, wanted: Fingerprint, where: str, wish: Wish, others: Mapping[str, Subjects], device: str
) -> Outcome:
    """`metrics.parquet`: what each discriminative model sees of every edit, and all of them together."""
    store = GuidedStore.open(root, wanted, where)
    assert store is not None
    store.finish()
    if read_table(root, where, "metrics", wanted) is not None:
        return "skipped"
    steering = read_steering(root)
    frames, after = store.found("frames")[0], store.found("result")[0]
    before = frames[:, 0]
    stranger = _strangers(root, store.sources)
    judgements = {
        name: _judged(steering, name, wish.edits, (before, after, stranger), others, device) for name in steering.models
    }
    table = [_judgement_frame(name, store.sources, found) for name, found in judgements.items()]
    answers = [_answers(found) for found in judgements.values()]
    together = Judgement(**{name: np.mean([answer[name] for answer in answers], axis=0) for name in answers[0]})
    table.append(_judgement_frame("all", store.sources, together))
    write_table(root, where, "metrics", pd.concat(table, ignore_index=True), wanted)
    return "done"


def known_latents(steering: Steering, images: Subjects, span: slice, wish: Wish, device: str) -> Tensor:
    """(image, z): an image of G has its own; a file is inverted first, with all matches."""
    latents = torch.from_numpy(images.latents[span].copy())
    strange = np.flatnonzero(images.files[span])
    if len(strange):
        row = Row("all", steering.models, alpha=0.001, beta=0.01, rate=0.4)
        search = Search(restarts=4, seed=wish.seed, steps=max(wish.descent.steps, 300))
        pixels = images.pixels[span][strange]
        classes = None if images.classes is None else images.classes[span][strange]
        way = run(steering, row, search, pixels, classes, range(len(strange)), device, "inverting files")
        latents[torch.from_numpy(strange)] = way.latents.cpu()
    return latents


def asked_of_generator(
    steering: Steering,
    start: Tensor,
    classes: Classes | None,
    edits: Sequence[Edit],
    others: Mapping[str, Subjects],
    wish: Wish,
    device: str,
) -> EditedMaps:
    """The edits on G's own maps of the images before, whose latents and classes are given."""
    generator = loaded(steering.generator, device)
    theirs = {}
    for name, other in others.items():
        latents = known_latents(steering, other, slice(0, 1), wish, device)
        theirs[name] = _cpu(generator.generate(latents, told(None if other.classes is None else other.classes[:1]))[1])
    clusters = steering.strongest(steering.generator.name)
    before = _cpu(generator.generate(start, told(classes))[1])
    return edited_maps(steering.matches.generator, clusters, before, edits, theirs)


def asked_of_model(
    steering: Steering, name: str, before: Maps, edits: Sequence[Edit], others: Mapping[str, Subjects], device: str
) -> EditedMaps:
    """The same edits on a discriminative model's own maps of the images before."""
    model = loaded(steering.spec(name), device)
    theirs = {key: _observed(model, other.pixels[:1]) for key, other in others.items()}
    return edited_maps(steering.matches.others[name], steering.strongest(name), before, edits, theirs)


def _judged(
    steering: Steering,
    name: str,
    edits: Sequence[Edit],
    pixels: tuple[Pixels, Pixels, Pixels],
    others: Mapping[str, Subjects],
    device: str,
) -> Judgement:
    model = loaded(steering.spec(name), device)
    before, after, stranger = (_observed(model, shown) for shown in pixels)
    return judge(asked_of_model(steering, name, before, edits, others, device), edits, before, after, stranger)


def _observed(model: Model, pixels: Pixels) -> dict[str, Tensor]:
    return _cpu(model.observe(from_pixels(pixels, model.device)))


def _cpu(maps: Maps) -> dict[str, Tensor]:
    return {name: values.cpu().clone() for name, values in maps.items()}


def _strangers(root: Root, sources: Sequence[str]) -> Pixels:
    """(image, y, x, rgb): for each image another one of the run."""
    store = ImageStore(open_complete(root, IMAGES.path()))
    chosen = []
    for place, source in enumerate(sources):
        index = (37 * place + 11) % store.count
        chosen.append((index + 1) % store.count if source == f"image {index}" else index)
    return np.concatenate([store.pixels(slice(index, index + 1)) for index in chosen])


def _judgement_frame(model: str, sources: Sequence[str], found: Judgement) -> pd.DataFrame:
    frame = pd.DataFrame({"model": model, "image": np.arange(len(sources)), "source": list(sources)})
    return frame.assign(**_answers(found), worked=found.worked)


def _answers(found: Judgement) -> dict[str, npt.NDArray[np.float64]]:
    return {field.name: getattr(found, field.name) for field in fields(found)}

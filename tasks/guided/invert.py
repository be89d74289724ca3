"""Stage `invert`: images into latents, batch by batch, and how near they come."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from rosetta.guidance.edits import Box
from rosetta.guidance.invert import Guide, Starts, high_target, invert, observed_target
from rosetta.guidance.latent import SpaceName, space_of
from rosetta.guidance.objective import Measure, pixel_error
from rosetta.guidance.optimise import Descent, Optimised, Report
from rosetta.guidance.perceptual import Lpips, feature_distance
from rosetta.guidance.quality import quality
from rosetta.zoo.image_arrays import from_pixels, to_pixels
from storage.artifacts.fingerprint import Fingerprint
from storage.artifacts.guided import Found, GuidedStore, read_table, write_table
from storage.filesystem.root import Root
from tasks.guided.classes import Classes, told
from tasks.guided.inputs import Subjects
from tasks.guided.matches import Steering, loaded, loaded_all, read_steering
from tasks.stage.progress import Advance, track
from tasks.stage.stage import Outcome, stage

TERMS = ("rec", "reg", "act")
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Row:
    """One kind of guidance: a row of Table 1."""

    guidance: str
    """`none`, a model's name, several joined by `+`, or `all`."""
    models: tuple[str, ...]
    alpha: float
    beta: float
    rate: float


@dataclass(frozen=True)
class Search:
    """What all rows of an inversion share."""

    rec: str = "pixels"
    space: SpaceName = "z"
    clusters: tuple[int, ...] | None = None
    above: float | None = None
    high: Box | None = None
    restarts: int = 1
    steps: int = 300
    seed: int = 0
    lpips: str | None = None


@stage("invert {where} {row.guidance} from image {first}")
def invert_batch(
    root: Root, wanted: Fingerprint, where: str, row: Row, first: int, search: Search, device: str
) -> Outcome:
    """Invert one batch of a store's images under one kind of guidance."""
    store = GuidedStore.open(root, where, wanted)
    assert store is not None
    kind = store.guidance.index(row.guidance)
    todo = next((span for found, span in store.missing() if found == kind and span.start == first), None)
    if todo is None:
        return "skipped"
    way = run(
        read_steering(root),
        row,
        search,
        store.targets(todo),
        store.classes(todo),
        range(todo.start, todo.stop),
        device,
        f"{where} {row.guidance}, {shown_span(todo)}",
    )
    store.write(kind, todo, found_of(way, TERMS))
    return "done"


def run(
    steering: Steering,
    row: Row,
    search: Search,
    targets: Pixels | None,
    classes: Classes | None,
    images: range,
    device: str,
    title: str,
) -> Optimised:
    """One search in memory.

    Parameters
    ----------
    targets
        (image, y, x, rgb); None where only `search.high` says what is asked.
    classes
        (image,) of a conditional generator, else None.
    images
        Their indices among all, which decide about their starts.
    """
    generator = loaded(steering.generator, device)
    space = space_of(generator, search.space, told(classes))
    matches = steering.matches.only(models=row.models, clusters=search.clusters, above=search.above)
    rec: Measure | None = None
    act = None
    if targets is None:
        assert search.high is not None
        units = steering.matches.units_of(search.clusters or ())
        act = high_target(steering.matches.generator, units, search.high, generator.device)
    else:
        wished = from_pixels(targets, generator.device)
        rec = _reconstruction(steering, search, wished, device)
        if row.beta > 0 and len(matches):
            act = observed_target(matches, loaded_all(steering, row.models, device), wished)
    guide = Guide(rec, act, row.alpha, row.beta)
    descent = Descent(search.steps, row.rate)
    with track(title, search.steps) as advance:
        return invert(space, guide, Starts(images, search.seed, search.restarts), descent, step_told(advance))


def step_told(advance: Advance) -> Report:
    """Progress by one step, with the losses beside it."""
    return lambda losses: advance(1, "  ".join(f"{name} {value:.4f}" for name, value in losses.items()))


def found_of(way: Optimised, terms: Sequence[str]) -> Found:
    """As it goes to the store, with the losses in the order of `terms`."""
    loss = np.full((len(way.latents), way.losses.shape[1], len(terms)), np.nan, np.float32)
    for place, term in enumerate(way.terms):
        loss[:, :, terms.index(term)] = way.losses[:, :, place].cpu().numpy()
    frames = to_pixels(way.frames.flatten(0, 1)).reshape(*way.frames.shape[:2], *way.frames.shape[3:], 3)
    return Found(way.start.cpu().numpy(), way.latents.cpu().numpy(), frames, loss)


def shown_span(images: slice) -> str:
    """`image 3`, or `images 0 to 15`."""
    last = images.stop - 1
    return f"image {last}" if images.start == last else f"images {images.start} to {last}"


@stage("metrics {where}")
def write_metrics(root: Root, wanted: Fingerprint, where: str, lpips: str | None) -> Outcome:
    """`metrics.parquet`: PSNR, SSIM and, where its backbone is at hand, LPIPS of every result."""
    store = GuidedStore.open(root, where, wanted)
    assert store is not None
    store.finish()
    if read_table(root, where, "metrics", wanted) is not None:
        return "skipped"
    targets, results = store.targets(), store.found("result")
    loss = store.found("loss")[:, :, -1]
    frames = []
    for kind, guidance in enumerate(store.guidance):
        frame = pd.DataFrame({"guidance": guidance, "image": np.arange(len(store.sources)), "source": store.sources})
        for name in ("psnr", "ssim", "lpips"):
            frame[name] = np.nan
        if targets is not None:
            near = quality(results[kind], targets)
            frame["psnr"], frame["ssim"] = near.psnr, near.ssim
            if lpips is not None:
                frame["lpips"] = _lpips(Lpips(lpips), results[kind], targets)
        for place, term in enumerate(store.terms):
            frame[term] = loss[kind, :, place]
        frames.append(frame)
    write_table(root, where, "metrics", pd.concat(frames, ignore_index=True), wanted)
    return "done"


@stage("choose coefficients")
def choose_coefficients(
    root: Root,
    wanted: Fingerprint,
    where: str,
    tuning: Subjects,
    grid: Mapping[str, tuple[float, ...]],
    search: Search,
    device: str,
) -> Outcome:
    """`coefficients.parquet`: for each row of Table 1 the coefficients with the best mean PSNR on the tuning images.

    Learning rate and α are chosen without guidance and then serve every row; β is chosen for each row. Each trial is
    kept as soon as it is done.
    """
    steering = read_steering(root)
    found = read_table(root, where, "coefficients", wanted)
    trials = [] if found is None else found.to_dict("records")
    count = len(trials)

    def score(row: Row) -> float:
        for trial in trials:
            if all(trial[key] == getattr(row, key) for key in ("guidance", "rate", "alpha", "beta")):
                return float(trial["psnr"])
        title = f"tuning {row.guidance}: rate {row.rate:g}, α {row.alpha:g}, β {row.beta:g}"
        way = run(steering, row, search, tuning.pixels, tuning.classes, range(len(tuning)), device, title)
        near = quality(to_pixels(way.frames[:, -1]), tuning.pixels)
        trials.append(
            {
                "guidance": row.guidance,
                "rate": row.rate,
                "alpha": row.alpha,
                "beta": row.beta,
                "psnr": float(near.psnr.mean()),
                "ssim": float(near.ssim.mean()),
            }
        )
        write_table(root, where, "coefficients", pd.DataFrame(trials), wanted)
        return float(near.psnr.mean())

    alone = [Row("none", (), alpha, 0.0, rate) for rate in grid["rates"] for alpha in grid["alphas"]]
    best = max(alone, key=score)
    for guidance, models in table_rows(steering).items():
        if guidance != "none":
            for beta in grid["betas"]:
                score(Row(guidance, models, best.alpha, beta, best.rate))
    return "skipped" if len(trials) == count else "done"


def chosen_rows(root: Root, wanted: Fingerprint, where: str, steering: Steering) -> tuple[Row, ...]:
    """The rows of Table 1 with the coefficients that were chosen; ties to the first that was tried."""
    trials = read_table(root, where, "coefficients", wanted)
    assert trials is not None
    rows = []
    for guidance, models in table_rows(steering).items():
        best = trials[trials["guidance"] == guidance].sort_values("psnr", ascending=False, kind="stable").iloc[0]
        rows.append(Row(guidance, models, float(best["alpha"]), float(best["beta"]), float(best["rate"])))
    return tuple(rows)


def table_rows(steering: Steering) -> dict[str, tuple[str, ...]]:
    """Guidance → models: none, each model, all."""
    every = steering.models
    rows: dict[str, tuple[str, ...]] = {"none": (), **{name: (name,) for name in every}}
    return rows if len(every) < 2 else {**rows, "all": every}


def _reconstruction(steering: Steering, search: Search, targets: torch.Tensor, device: str) -> Measure | None:
    if search.rec == "none":
        return None
    if search.rec == "pixels":
        return pixel_error(targets)
    if search.rec == "lpips":
        assert search.lpips is not None
        return Lpips(search.lpips).measure(targets)
    return feature_distance(loaded(steering.spec(search.rec), device), targets)


def _lpips(distance: Lpips, results: Pixels, targets: Pixels) -> npt.NDArray[np.float64]:
    cpu = torch.device("cpu")
    with torch.inference_mode():
        found = [
            distance(from_pixels(results[[image]], cpu), from_pixels(targets[[image]], cpu)).item()
            for image in range(len(results))
        ]
    return np.array(found)

"""Stage `invert`: images into latents, batch by batch, and how near they come."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from rosetta.guidance.invert import Guide, high_target, invert, observed_target
from rosetta.guidance.latent import space_of
from rosetta.guidance.matches import Matches
from rosetta.guidance.objective import Measure, pixel_error
from rosetta.guidance.optimise import Descent, Optimised, Report
from rosetta.guidance.perceptual import Lpips, feature_distance
from rosetta.guidance.quality import quality
from rosetta.guidance.settings import Inversion, Table
from rosetta.guidance.starts import Starts, early_steps, mined_count
from rosetta.zoo.image_arrays import from_pixels, to_pixels
from storage.artifacts.fingerprint import Fingerprint
from storage.artifacts.guided import Found, GuidedStore, read_table, write_table
from storage.filesystem.root import Root
from tasks.guided.inputs import Classes, Inputs, class_tensor
from tasks.guided.matches import GuidedRun
from tasks.guided.nearest import latents_at, nearest_stored, nearest_to_images
from tasks.stage.progress import Advance, track
from tasks.stage.stage import Outcome, stage

TERMS = ("rec", "reg", "act")
COEFFICIENTS = ("rate", "alpha", "beta")
Pixels = npt.NDArray[np.uint8]


@stage("invert {where} {guidance} from image {first}")
def invert_batch(
    root: Root, fingerprint: Fingerprint, where: str, guidance: str, settings: Inversion, first: int
) -> Outcome:
    """Invert one batch of a store's images under one kind of guidance."""
    store = GuidedStore.open(root, fingerprint, where)
    assert store is not None
    kind = store.guidance.index(guidance)
    span = next((span for missing, span in store.missing() if missing == kind and span.start == first), None)
    if span is None:
        return "skipped"
    title = f"{where} {guidance}, {span_title(span)}"
    images = range(span.start, span.stop)
    result = search(GuidedRun.open(root), settings, store.targets(span), store.classes(span), images, title)
    store.write(kind, span, to_store(result, TERMS))
    return "done"


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
        if settings.beta > 0 and len(matches):
            act = observed_target(matches, {name: run.model(name) for name in set(matches.model)}, pixels)
        if count:
            # Without guidance, too, so that both begin at the same images.
            compared = matches if len(matches) else run.matches
            mined = nearest_to_images(run, compared, pixels, classes, count, f"{title}: nearest mined images")
    guide = Guide(rec, act, settings.alpha, settings.beta)
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
    with track(title, early + settings.steps) as advance:
        return invert(space, guide, starts, Descent(settings.steps, settings.rate), tell_steps(advance))


def guiding_models(run: GuidedRun, settings: Inversion) -> tuple[str, ...]:
    """The models whose matches guide."""
    return run.data.targets if settings.models is None else settings.models


def guiding_matches(run: GuidedRun, settings: Inversion) -> Matches:
    """The matches that guide."""
    return run.matches.only(models=guiding_models(run, settings), clusters=settings.clusters, above=settings.above)


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


@stage("metrics {where}")
def write_metrics(root: Root, fingerprint: Fingerprint, where: str, lpips: str | None) -> Outcome:
    """`metrics.parquet`: PSNR, SSIM and, where its backbone is at hand, LPIPS of every result."""
    store = GuidedStore.open(root, fingerprint, where)
    assert store is not None
    store.finish()
    if read_table(root, where, "metrics", fingerprint) is not None:
        return "skipped"
    targets, results = store.targets(), store.found("result")
    loss = store.found("loss")[:, :, -1]
    frames = []
    for kind, guidance in enumerate(store.guidance):
        frame = pd.DataFrame({"guidance": guidance, "image": np.arange(len(store.sources)), "source": store.sources})
        frame = frame.assign(psnr=np.nan, ssim=np.nan, lpips=np.nan)
        if targets is not None:
            near = quality(results[kind], targets)
            frame["psnr"], frame["ssim"] = near.psnr, near.ssim
            if lpips is not None:
                frame["lpips"] = _lpips(Lpips(lpips), results[kind], targets)
        for column, term in enumerate(store.terms):
            frame[term] = loss[kind, :, column]
        frames.append(frame)
    write_table(root, where, "metrics", pd.concat(frames, ignore_index=True), fingerprint)
    return "done"


@stage("choose coefficients")
def choose_coefficients(root: Root, fingerprint: Fingerprint, where: str, tuning: Inputs, settings: Table) -> Outcome:
    """`coefficients.parquet`: for each row of Table 1 the coefficients with the best mean PSNR on the tuning images.

    Learning rate and α are chosen without guidance and then serve every row; β is chosen for each row. Each trial is
    kept as soon as it is done.
    """
    run = GuidedRun.open(root)
    table = read_table(root, where, "coefficients", fingerprint)
    trials = [] if table is None else table.to_dict("records")
    count = len(trials)

    def score(guidance: str, models: tuple[str, ...], coefficients: dict[str, float]) -> float:
        for trial in trials:
            if trial["guidance"] == guidance and all(trial[name] == coefficients[name] for name in COEFFICIENTS):
                return float(trial["psnr"])
        rate, alpha, beta = (coefficients[name] for name in COEFFICIENTS)
        title = f"tuning {guidance}: rate {rate:g}, α {alpha:g}, β {beta:g}"
        trial_settings = _table_search(settings, models, coefficients)
        result = search(run, trial_settings, tuning.pixels, tuning.classes, range(len(tuning)), title)
        near = quality(to_pixels(result.frames[:, -1]), tuning.pixels)
        means = {"psnr": float(near.psnr.mean()), "ssim": float(near.ssim.mean())}
        trials.append({"guidance": guidance, **coefficients, **means})
        write_table(root, where, "coefficients", pd.DataFrame(trials), fingerprint)
        return means["psnr"]

    alone = [{"rate": rate, "alpha": alpha, "beta": 0.0} for rate in settings.rates for alpha in settings.alphas]
    best = max(alone, key=lambda coefficients: score("none", (), coefficients))
    for guidance, models in table_rows(run).items():
        if guidance != "none":
            for beta in settings.betas:
                score(guidance, models, {**best, "beta": beta})
    return "skipped" if len(trials) == count else "done"


def chosen_searches(
    root: Root, fingerprint: Fingerprint, where: str, run: GuidedRun, settings: Table
) -> dict[str, Inversion]:
    """Row of Table 1 → its search with the coefficients that were chosen; ties to the first that was tried."""
    trials = read_table(root, where, "coefficients", fingerprint)
    assert trials is not None
    searches = {}
    for guidance, models in table_rows(run).items():
        best = trials[trials["guidance"] == guidance].sort_values("psnr", ascending=False, kind="stable").iloc[0]
        searches[guidance] = _table_search(settings, models, {name: float(best[name]) for name in COEFFICIENTS})
    return searches


def table_rows(run: GuidedRun) -> dict[str, tuple[str, ...]]:
    """Guidance → models: none, each model, all."""
    every = run.data.targets
    rows: dict[str, tuple[str, ...]] = {"none": (), **{name: (name,) for name in every}}
    return rows if len(every) < 2 else {**rows, "all": every}


def _table_search(settings: Table, models: tuple[str, ...], coefficients: dict[str, float]) -> Inversion:
    base = Inversion(steps=settings.steps, seed=settings.seed)
    return base.model_copy(update={"models": models, **coefficients})


def _reconstruction(run: GuidedRun, settings: Inversion, targets: torch.Tensor) -> Measure | None:
    if settings.rec == "none":
        return None
    if settings.rec == "pixels":
        return pixel_error(targets)
    if settings.rec == "lpips":
        assert settings.lpips is not None
        return Lpips(settings.lpips).measure(targets)
    return feature_distance(run.model(settings.rec), targets)


def _lpips(distance: Lpips, results: Pixels, targets: Pixels) -> npt.NDArray[np.float64]:
    cpu = torch.device("cpu")
    with torch.inference_mode():
        distances = [
            distance(from_pixels(results[[image]], cpu), from_pixels(targets[[image]], cpu)).item()
            for image in range(len(results))
        ]
    return np.array(distances)

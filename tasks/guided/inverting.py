"""Stages `invert` and `metrics`: images into latents, batch by batch, and how near they come."""

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from rosetta.guidance.perceptual import Lpips
from rosetta.guidance.quality import quality
from rosetta.zoo.image_arrays import from_pixels
from storage.artifacts.fingerprint import Fingerprint
from storage.artifacts.guided import GuidedStore, read_table, write_table
from storage.filesystem.root import Root
from tasks.causes.spread import spread
from tasks.guided.features import Judges, feature_columns
from tasks.guided.invert import Inverting, guiding_models, invert_batch
from tasks.guided.matches import GuidedRun
from tasks.stage.stage import Outcome, stage

Pixels = npt.NDArray[np.uint8]


@stage("invert {plan.where} {guidance} from image {first}")
def invert_here(root: Root, plan: Inverting, guidance: str, first: int) -> Outcome:
    """Invert one batch of a store's images under one kind of guidance, with all that this machine has."""
    store = _opened(root, plan)
    kind = store.guidance.index(guidance)
    batch = next((batch for batch in store.missing() if batch[0] == kind and batch[1].start == first), None)
    if batch is None:
        return "skipped"
    invert_batch(GuidedRun.open(root), plan, batch)
    return "done"


def fill_on_workers(root: Root, plan: Inverting) -> Outcome:
    """Invert all batches that are missing, each on a core of the workers of the run's cluster."""
    missing = _opened(root, plan).missing()
    if not missing:
        return "skipped"
    run = GuidedRun.open(root)
    used = {run.data.anchor}
    for settings in plan.searches.values():
        used |= {*(guiding_models(run, settings) if settings.first_beta > 0 else ())}
        used |= {settings.rec} & {*run.data.models}
    spread(f"invert {plan.where}", run, sorted(used), invert_batch, plan, missing)
    return "done"


invert_on_workers = stage("invert {plan.where}")(fill_on_workers)


def _opened(root: Root, plan: Inverting) -> GuidedStore:
    store = GuidedStore.open(root, plan.fingerprint, plan.where)
    assert store is not None
    return store


@stage("metrics {where}")
def write_metrics(root: Root, fingerprint: Fingerprint, where: str, lpips: str | None, judges: Judges) -> Outcome:
    """`metrics.parquet`: PSNR, SSIM, distances in features of models that had no part, and LPIPS if its backbone is
    at hand, of every result.
    """
    store = GuidedStore.open(root, fingerprint, where)
    assert store is not None
    store.finish()
    if read_table(root, where, "metrics", fingerprint) is not None:
        return "skipped"
    targets, results = store.targets(), store.found("result")
    loss = store.found("loss")[:, :, -1]
    features = {}
    if targets is not None:
        by_guidance = dict(zip(store.guidance, results, strict=True))
        features = feature_columns(GuidedRun.open(root), judges, by_guidance, targets)
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
        frame = frame.assign(**{name: of[guidance] for name, of in features.items()})
        frames.append(frame)
    write_table(root, where, "metrics", pd.concat(frames, ignore_index=True), fingerprint)
    return "done"


def _lpips(distance: Lpips, results: Pixels, targets: Pixels) -> npt.NDArray[np.float64]:
    cpu = torch.device("cpu")
    with torch.inference_mode():
        distances = [
            distance(from_pixels(results[[image]], cpu), from_pixels(targets[[image]], cpu)).item()
            for image in range(len(results))
        ]
    return np.array(distances)

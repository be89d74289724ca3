"""Stage `features`: the images into plain pixel features, which trust asks how much of a match they explain."""

from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rosetta.zoo.families.pixels import FEATURES, INDEPENDENT, pixel_features
from rosetta.zoo.image_arrays import from_pixels
from rosetta.zoo.preprocessing import Preprocessing
from storage.artifacts import catalogue
from storage.artifacts.features import SIDE, FeatureStore
from storage.artifacts.fingerprint import Fingerprint, fingerprint
from storage.artifacts.images import ImageStore
from tasks.plan import Plan, Stage
from tasks.stage.memory import keep_freed_memory
from tasks.stage.metrics import saw_images
from tasks.stage.progress import track

_AT_ONCE = 8


def fingerprint_of(plan: Plan) -> Fingerprint:
    """Of the pixel features."""
    images = plan.digest(catalogue.IMAGES)
    return fingerprint("features", images=images, side=SIDE, names=list(INDEPENDENT))


_PREPARE = Preprocessing((SIDE, SIDE), "bilinear", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
_KEPT = [FEATURES.index(name) for name in INDEPENDENT]


def features_of(pixels: npt.NDArray[np.uint8], device: torch.device) -> Tensor:
    """(image, feature, y, x) float16 pixel features of images (image, y, x, rgb)."""
    return pixel_features(_PREPARE(from_pixels(pixels, device)))[:, _KEPT].to(torch.float16)


def write_features(plan: Plan) -> None:
    """Write what is missing of `features.zarr`."""
    root, features = plan.root, plan.fingerprint(catalogue.FEATURES)
    store = FeatureStore.open(root, features)
    images = ImageStore.read(root)
    if store is None:
        store = FeatureStore.create(root, features, INDEPENDENT, SIDE, images.count)
    keep_freed_memory()
    missing = store.missing()
    with track("features", sum(span.stop - span.start for _, span in missing)) as advance, torch.inference_mode():
        for block, span in missing:
            parts, digests = [], []
            for start in range(span.start, span.stop, _AT_ONCE):
                pixels = images.pixels(slice(start, min(start + _AT_ONCE, span.stop)))
                parts.append(features_of(pixels, torch.device("cpu")).numpy())
                digests += [
                    int.from_bytes(blake2b(image.tobytes(), digest_size=8).digest(), "little") for image in pixels
                ]
                advance(len(pixels))
            saw_images(span.stop - span.start)
            store.write(block, np.concatenate(parts), np.array(digests, dtype=np.uint64))
    store.finish()


WRITE_FEATURES = Stage("features", (catalogue.FEATURES,), fingerprint_of, write_features)

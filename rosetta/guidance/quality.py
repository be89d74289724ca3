"""How near an image comes to another: PSNR and SSIM, as scikit-image defines them, over 8-bit colours."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Quality:
    """Of each image."""

    psnr: npt.NDArray[np.float64]
    """(image,) in dB; infinite for equal images."""
    ssim: npt.NDArray[np.float64]
    """(image,) at most 1; mean over colours, uniform windows of 7 pixels."""


def quality(images: Pixels, targets: Pixels) -> Quality:
    """Compare (image, y, x, rgb) uint8 with as many targets."""
    pairs = list(zip(targets, images, strict=True))
    with np.errstate(divide="ignore"):  # equal images
        psnr = [peak_signal_noise_ratio(target, image, data_range=255) for target, image in pairs]
    ssim = [structural_similarity(target, image, channel_axis=2, data_range=255) for target, image in pairs]
    return Quality(np.array(psnr, np.float64), np.array(ssim, np.float64))

"""Images as models see them, (image, rgb, y, x) in 0…1, and as stores keep them, (image, y, x, rgb) uint8."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Pixels = npt.NDArray[np.uint8]


def to_pixels(images: Tensor) -> Pixels:
    """(image, y, x, rgb) uint8 of (image, rgb, y, x) images in 0…1."""
    return images.clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def from_pixels(pixels: Pixels, device: torch.device) -> Tensor:
    """(image, rgb, y, x) float32 in 0…1 of (image, y, x, rgb) uint8."""
    return torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).float().div(255)

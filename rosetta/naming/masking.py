"""An image of which nothing is left but where a unit is strong."""

import numpy as np
import torch
import torch.nn.functional as F

from rosetta.naming.soft_wpmi import Float32
from rosetta.zoo.image_arrays import Pixels


def masked(pixels: Pixels, maps: Float32, floor: float) -> Pixels:
    """Images with their mean colour wherever a map is low.

    Between the floor and half of the way to a map's maximum an image fades in; above, it is as it was. Maps are
    enlarged bilinearly to the size of the images.

    Parameters
    ----------
    pixels
        (image, y, x, rgb).
    maps
        (image, grid_y, grid_x), one for each image.
    floor
        The unit's mean over the run.
    """
    heat = F.interpolate(torch.from_numpy(maps)[:, None], pixels.shape[1:3], mode="bilinear", align_corners=False)
    height = torch.from_numpy(maps).amax(dim=(1, 2))[:, None, None, None] - floor
    shown = ((heat - floor) / height.clamp_min(1e-12) * 2).clamp(0, 1)
    shown[(height <= 0).expand_as(shown)] = 0  # a map that nowhere exceeds the unit's mean shows nothing
    opacity = shown[:, 0, :, :, None].numpy()
    colour = pixels.mean(axis=(1, 2), dtype=np.float32)[:, None, None]
    return np.asarray(np.rint(opacity * pixels + (1 - opacity) * colour), np.uint8)

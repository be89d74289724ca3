"""Hand-made maps of an image's plain content: a control for how much of a match colours, edges and texture explain.

Windows and wavelengths are fixed in pixels of the image as it is given, so the same image at 32, 64 and 128 pixels a
side is looked at on three scales.
"""

import math
from collections.abc import Callable
from functools import cache, partial

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rosetta.model_spec import Condition
from rosetta.zoo.architecture import Architecture, Family, State
from rosetta.zoo.preprocessing import Preprocessing

_COLOURS = ("red", "green", "blue", "luminance", "red-green", "blue-yellow")
_LUMINANCE = (0.2126, 0.7152, 0.0722)
"""Weights of red, green and blue in ITU-R BT.709-6, 3.2, applied to the values as they are stored."""
_WINDOW = 5
"""Side of the square whose variance is taken, in pixels."""
_WAVELENGTHS = (4, 8, 16)
"""Of the Gabor filters, in pixels."""
_ORIENTATIONS = (0, 45, 90, 135)
"""The direction in which a Gabor filter's wave runs, in degrees from x (rightwards) towards y (downwards)."""

FEATURES: tuple[str, ...] = (
    *_COLOURS,
    "gradient",
    "variance",
    *(f"gabor {wavelength} px {degrees}°" for wavelength in _WAVELENGTHS for degrees in _ORIENTATIONS),
)
"""Names of the features, in the order of their maps."""
INDEPENDENT: tuple[str, ...] = tuple(name for name in FEATURES if name not in ("luminance", "red-green", "blue-yellow"))
"""Those of them that are no sums of red, green and blue: a regression on these is one on all."""


def pixel_features(images: Tensor) -> Tensor:
    """Every feature of images, at the images' own size; differentiable.

    At a flat place, where it has a kink, a magnitude's derivative is taken as 0.

    Parameters
    ----------
    images
        (image, rgb, y, x), floating point in 0..1, of any size: borders are replicated.

    Returns
    -------
    Tensor
        (image, feature, y, x) float32, the features of :data:`FEATURES`:

        - red, green, blue; luminance by the weights of Rec. 709; red − green; blue − (red + green) / 2;
        - gradient: magnitude of the luminance's central differences, per pixel;
        - variance: population variance of the luminance in a window of 5 × 5 pixels;
        - gabor: energy of the luminance under a quadrature pair of Gabor filters (Adelson and Bergen, 1985), the
          root of the sum of both squared responses. The filters have a round Gaussian envelope of half a wavelength,
          cut off at three standard deviations, mean 0 and norm 1.

    Raises
    ------
    ValueError
        The images are not (image, rgb, y, x) floating point.
    """
    if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
        raise ValueError(f"images are {images.dtype} {tuple(images.shape)}, not float (image, 3, y, x)")
    images = images.float()
    gabors = (_gabor(images, wavelength) for wavelength in _WAVELENGTHS)
    return torch.cat([_colour(images), _gradient(images), _variance(images), *gabors], 1)


class PixelMaps(nn.Module):
    """The features as a network without weights: layers `colour`, `gradient`, `variance`, `gabor.0`, `gabor.1`, …"""

    def __init__(self) -> None:
        super().__init__()
        # What takes the place of weights: another definition is another model, with another sha256.
        definition = (*_LUMINANCE, _WINDOW, *_WAVELENGTHS, *_ORIENTATIONS)
        self.register_buffer("definition", torch.tensor(definition, dtype=torch.float64))
        self.colour = _Signed(_colour)
        self.gradient = _Signed(_gradient)
        self.variance = _Signed(_variance)
        self.gabor = nn.ModuleList(_Signed(partial(_gabor, wavelength=wavelength)) for wavelength in _WAVELENGTHS)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(image, rgb, y, x) float32 in 0..1 → (image, channel, y, x) of each layer in turn."""
        return tuple(layer(images) for layer in (self.colour, self.gradient, self.variance, *self.gabor))


class Pixels(Family):
    """The family `pixels`; a model's name is the side of the images that it looks at, and of its maps."""

    name = "pixels"
    description = "colour, gradient, variance and Gabor energy of the image itself, a control; needs no weights"
    prepares = False

    def names(self) -> list[str]:
        """Sides in pixels, from small to large."""
        return ["32", "64", "128"]

    def build(self, name: str, state: State | None, pretrained: bool, condition: Condition) -> Architecture:
        """See :meth:`rosetta.zoo.architecture.Family.build`."""
        self.require_known(name)
        return Architecture(
            PixelMaps(),
            Preprocessing((int(name), int(name)), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
            layers=("colour", "gradient", "variance", "gabor.*"),
        )


class _Signed(nn.Module):
    """Features, then their negations: a unit that falls where a feature rises has a match, too."""

    def __init__(self, features: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.features = features

    def forward(self, images: Tensor) -> Tensor:
        """(image, rgb, y, x) → (image, 2 · feature, y, x)."""
        maps = self.features(images)
        return torch.cat([maps, -maps], 1)


# All of these: (image, rgb, y, x) float32 → (image, feature, y, x).


def _colour(images: Tensor) -> Tensor:
    red, green, blue = images.split(1, 1)
    return torch.cat([images, _luminance(images), red - green, blue - (red + green) / 2], 1)


def _luminance(images: Tensor) -> Tensor:
    return (images * images.new_tensor(_LUMINANCE)[:, None, None]).sum(1, keepdim=True)


def _gradient(images: Tensor) -> Tensor:
    padded = _pad(_luminance(images), 1)
    across = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]
    down = padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
    return _magnitude(torch.stack([across, down], 2) / 2)


def _variance(images: Tensor) -> Tensor:
    # Deviations from each window's own mean: the mean square less the squared mean would cancel to noise where the
    # image is flat.
    windows = _pad(_luminance(images), _WINDOW // 2).unfold(2, _WINDOW, 1).unfold(3, _WINDOW, 1)
    return windows.var((-2, -1), correction=0)


def _gabor(images: Tensor, wavelength: int) -> Tensor:
    luminance = _luminance(images)
    # The filters do not see a constant, so taking one away changes nothing but the rounding.
    centred = luminance - luminance.mean((2, 3), keepdim=True)
    across, down = _passes(wavelength, luminance.shape[2], luminance.shape[3], images.device)
    count, _, height, width = centred.shape
    # (image, 1 or wave, y, x) after the pass along x, then for each orientation both filters after that along y.
    wide = torch.mm(centred.reshape(-1, width), across).view(count, height, -1, width).transpose(1, 2)
    flat, waves = wide[:, :1], wide[:, 1:].unflatten(1, (len(_ORIENTATIONS), 2))
    responses = [
        torch.matmul(down[index], torch.cat([waves[:, index], flat], 1).flatten(1, 2)).unflatten(1, (2, height))
        for index in range(len(_ORIENTATIONS))
    ]
    return _magnitude(torch.stack(responses, 1))


@cache
def _passes(wavelength: int, height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The filters as matrices: a wave under a round Gaussian is a product of one along x and one along y.

    With `C`, `S` and `G` the Gaussian with a cosine, a sine and nothing, along either axis:

        even = C C − S S − c G G,   odd = C S + S C

    and borders are replicated by letting the matrices take the outermost pixel again.

    Returns
    -------
    tuple
        (x, (1 + 2 · orientation) · x), `G`, then `C` and `S` of each orientation in turn; and (orientation, 2 · y,
        3 · y), which turns `C`, `S` and `G` into even and odd filters of norm 1. Float32.
    """
    sigma = wavelength / 2
    reach = math.ceil(3 * sigma)
    offsets = np.arange(-reach, reach + 1)
    envelope = np.exp(-(offsets**2) / (2 * sigma**2))
    across = [_clamped(envelope, width)]
    down = []
    for angle in np.radians(_ORIENTATIONS):
        x, y = (envelope * np.exp(2j * np.pi / wavelength * part * offsets) for part in (np.cos(angle), np.sin(angle)))
        wave, gaussian = np.outer(y, x), np.outer(envelope, envelope)
        constant = wave.real.sum() / gaussian.sum()  # the odd one's mean is 0 by symmetry
        even, odd = np.linalg.norm(wave.real - constant * gaussian), np.linalg.norm(wave.imag)
        across += [_clamped(x.real, width), _clamped(x.imag, width)]
        c, s, g = (_clamped(part, height) for part in (y.real, y.imag, envelope))
        down.append(np.block([[c / even, -s / even, -constant * g / even], [s / odd, c / odd, np.zeros_like(g)]]))
    # A tensor made in inference mode could never serve a differentiable pass, and these are kept for all.
    with torch.inference_mode(False):
        return (
            torch.tensor(np.concatenate(across).T, dtype=torch.float32, device=device),
            torch.tensor(np.stack(down), dtype=torch.float32, device=device),
        )


def _clamped(kernel: npt.NDArray[np.float64], size: int) -> npt.NDArray[np.float64]:
    """(size, size) correlation with a kernel along one axis; beyond the border the outermost pixel goes on."""
    reach = len(kernel) // 2
    matrix = np.zeros((size, size))
    for offset, value in zip(range(-reach, reach + 1), kernel, strict=True):
        np.add.at(matrix, (np.arange(size), np.clip(np.arange(size) + offset, 0, size - 1)), value)
    return matrix


def _pad(maps: Tensor, width: int) -> Tensor:
    return F.pad(maps, (width,) * 4, mode="replicate")


def _magnitude(vectors: Tensor) -> Tensor:
    """(image, feature, component, y, x) → (image, feature, y, x)."""
    # Unlike a root of squares, an absolute value has a finite derivative at 0; a norm over so short an axis is slow.
    return torch.complex(vectors[:, :, 0], vectors[:, :, 1]).abs()

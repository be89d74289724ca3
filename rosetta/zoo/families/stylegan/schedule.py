"""Signals without aliasing: which frequencies each layer of StyleGAN3 may hold, and the filters that keep it to them.

Frequencies are in cycles per side of the image, rates in samples per side of the image. A grid reaches beyond the
image by a margin, so that what is made at the image's border does not know where the border is.
Formulas are those of "Alias-Free Generative Adversarial Networks" (Karras et al., 2021, arXiv 2106.12423): sections
3.2 and appendix C.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from rosetta.units import Frame

_COLOURS = 3


@dataclass(frozen=True, kw_only=True)
class Bands:
    """Where the progression of frequencies begins and ends, and how wide signals are; as published for T by default."""

    first_cutoff: float = 2.0
    """Of the Fourier features; they are drawn from the disc of this radius."""
    first_stopband: float = 2.0**2.1
    """Of the Fourier features."""
    last_stopband: float = 2.0**0.3
    """Of the last layers, as a multiple of their cutoff, which is half the resolution."""
    critical: int = 2
    """Layers before to-RGB that are sampled critically: their cutoff is half their rate."""
    margin: int = 10
    """Samples by which a grid reaches beyond the image on each side."""
    channel_base: float = 32768
    """A layer has `channel_base / (2 · cutoff)` channels, …"""
    channel_max: int = 512
    """… but never more than this."""


@dataclass(frozen=True)
class Signal:
    """What stands between two layers."""

    cutoff: float
    """f_c, the highest frequency that is meant to pass."""
    stopband: float
    """f_t, from where on nothing is meant to pass."""
    rate: int
    """s, samples per side of the image."""
    size: int
    """Side of the grid, in samples: the image and its margin."""
    channels: int
    """Width of the signal."""

    @property
    def half_width(self) -> float:
        """f_h, half the width of the band in which filters fall from passing to stopping."""
        return max(self.stopband, self.rate / 2) - self.cutoff

    @property
    def frame(self) -> Frame:
        """Which part of the image the grid covers."""
        beyond = (self.size - self.rate) / (2 * self.rate)
        return -beyond, -beyond, 1 + beyond, 1 + beyond


@dataclass(frozen=True)
class Step:
    """A layer as a step from one signal to the next."""

    index: int
    """The number in its name."""
    before: Signal
    """What it takes."""
    after: Signal
    """What it puts out."""
    critical: bool
    """Its output is sampled critically."""
    to_rgb: bool
    """It is the last one, without a nonlinearity."""

    @property
    def name(self) -> str:
        """Of its module: index, side of the grid, channels."""
        return f"L{self.index}_{self.after.size}_{self.after.channels}"


def schedule(resolution: int, layers: int, bands: Bands = Bands()) -> tuple[Step, ...]:
    """The layers of a whole network (section 3.2): cutoffs and stopbands grow geometrically from layer to layer.

    Parameters
    ----------
    resolution
        Side of the image in pixels, a power of two.
    layers
        How many there are before to-RGB.
    bands
        Its first and last frequencies, and its widths.

    Returns
    -------
    tuple
        `layers` + 1 steps, to-RGB last. The first takes the Fourier features and leaves their rate as it is.

    Raises
    ------
    ValueError
        The resolution is no power of two from 16 on, the layers are too few to grow to it, or a band is empty.
    """
    first = _signal(bands.first_cutoff, bands.first_stopband, resolution, bands)
    return _steps(first, 0, resolution, layers, bands, bands.critical)


def extend(steps: tuple[Step, ...], resolution: int, layers: int, bands: Bands = Bands()) -> tuple[Step, ...]:
    """A network grown to a higher resolution, as StyleGAN-XL grows (Sauer et al., 2022, arXiv 2202.00273).

    Critically sampled layers go; in their place come `layers` and to-RGB, whose progression begins with the last
    signal that is kept. The new indices leave out one number, as they do in the published networks.

    Parameters
    ----------
    steps
        The network so far.
    resolution, layers, bands
        As in :func:`schedule`, of what is put on; only the last stopband of the bands counts there, the margin and the
        widths. Frequencies reach their last two layers before to-RGB, however many of them count as critical.

    Raises
    ------
    ValueError
        As in :func:`schedule`.
    """
    kept = tuple(step for step in steps if not step.critical)
    last = kept[-1].after
    first = replace(last, stopband=last.cutoff + last.half_width)
    return kept + _steps(first, len(kept) + 1, resolution, layers, bands, Bands.critical)


def lowpass(taps: int, cutoff: float, half_width: float, rate: float) -> npt.NDArray[np.float64]:
    """A windowed sinc, for one axis at a time.

    Parameters
    ----------
    taps
        Its length.
    cutoff
        Frequency at which half the amplitude passes.
    half_width
        Half the width of the transition band around it.
    rate
        Of the signal that it runs over.

    Returns
    -------
    ndarray
        (tap,), symmetric, of sum 1.
    """
    from scipy.signal import firwin  # slow to import

    kernel: npt.NDArray[np.float64] = firwin(taps, cutoff, width=2 * half_width, fs=rate)
    return kernel


def radial_lowpass(taps: int, cutoff: float, half_width: float, rate: float) -> npt.NDArray[np.float64]:
    """A windowed jinc, which passes a disc of frequencies instead of a square: no direction is special (appendix C).

    The window is not round but a product of two.

    Parameters
    ----------
    taps, cutoff, half_width, rate
        As in :func:`lowpass`.

    Returns
    -------
    ndarray
        (tap, tap), symmetric, of sum 1.
    """
    from scipy.signal import kaiser_atten, kaiser_beta
    from scipy.special import j1

    offsets = (np.arange(taps, dtype=np.float64) - (taps - 1) / 2) / rate
    phase = 2 * np.pi * cutoff * np.hypot(offsets, offsets[:, None])
    # The limit of J1(x) / x at the middle tap of an odd length is 1/2.
    jinc = np.divide(j1(phase), phase, out=np.full_like(phase, 0.5), where=phase > 0)
    window = np.kaiser(taps, kaiser_beta(kaiser_atten(taps, 2 * half_width / (rate / 2))))
    kernel = jinc * np.outer(window, window)
    return kernel / kernel.sum()


def _signal(cutoff: float, stopband: float, resolution: int, bands: Bands) -> Signal:
    rate = 2 ** math.ceil(math.log2(min(2 * stopband, resolution)))
    channels = round(min(bands.channel_base / 2 / cutoff, bands.channel_max))
    return Signal(cutoff, stopband, rate, rate + 2 * bands.margin, channels)


def _steps(first: Signal, index: int, resolution: int, layers: int, bands: Bands, last: int) -> tuple[Step, ...]:
    """Steps from a first signal on; the frequencies of the `last` layers before to-RGB are the highest."""
    if resolution < 16 or resolution & (resolution - 1):
        raise ValueError(f"resolution is {resolution}, not a power of two from 16 on")
    if layers <= last:
        raise ValueError(f"{layers} layers before to-RGB, not at least {last + 1}")
    cutoffs, stopbands = resolution / 2 / first.cutoff, resolution / 2 * bands.last_stopband / first.stopband
    signals = [first]
    for layer in range(1, layers + 1):
        done = min(layer / (layers - last), 1)
        signal = _signal(first.cutoff * cutoffs**done, first.stopband * stopbands**done, resolution, bands)
        # The last layer and to-RGB look at the image alone.
        signals.append(replace(signal, size=resolution) if layer >= layers - 1 else signal)
    signals[-1] = replace(signals[-1], channels=_COLOURS)
    for signal in signals:
        if signal.rate < 1 or not signal.half_width > 0:
            raise ValueError(
                f"a layer of cutoff {signal.cutoff:g} and rate {signal.rate} leaves filters no room to fall"
            )
    return tuple(
        Step(
            index + layer,
            before=signals[max(layer - 1, 0)],
            after=signal,
            critical=layer >= layers - bands.critical,
            to_rgb=layer == layers,
        )
        for layer, signal in enumerate(signals)
    )

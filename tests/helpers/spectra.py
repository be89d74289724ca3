"""What a filter lets through, read off its spectrum."""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def passed(kernel: Array, frequency: float) -> float:
    """The most that a filter over both axes passes from a frequency on, in cycles per sample, along either axis."""
    spectrum = np.abs(np.fft.fft2(kernel, (512, 512)))
    high = np.abs(np.fft.fftfreq(512)) >= frequency
    return float(spectrum[high | high[:, None]].max())


def square(kernel: Array | None) -> Array:
    """(tap, tap) of a filter that may be a line for either axis."""
    if kernel is None:
        return np.ones((1, 1))
    return np.outer(kernel, kernel) if kernel.ndim == 1 else kernel

"""Soft weighted pointwise mutual information of a word and the images that a unit answers to.

Oikarinen and Weng, "CLIP-Dissect: Automatic Description of Neuron Representations in Deep Vision Networks", ICLR 2023
(arXiv 2204.10965), score a word `t` for a unit by

    log E[p(t | B)] − λ log p(t),    log E[p(t | B)] = Σ_x log(1 + p(x ∈ B) (p(t | x) − 1))

where `B` are the images that the unit answers to. An image belongs to it with a probability `p(x ∈ B)`, its soft
membership. `p(t | x)` is the softmax over the vocabulary of 10 times the cosine of image and word. Two things differ
from the authors' code. Membership falls from 0.998 to 0.97 with the unit's peaks, not with their ranks. And the prior
`log p(t)` is the same sum over images where the unit is silent, not a mean over the units of a layer, as a run may have
a single concept. λ is 1, so the score is the difference between strong and silent images: a word that fits all images
of a run scores 0.
"""

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]

SCALE = np.float32(10.0)
"""What cosines are multiplied with before the softmax."""
HIGHEST, LOWEST = 0.998, 0.97
"""Membership of the strongest image, and of the weakest of those that are taken."""


def probabilities(cosines: Float32) -> Float32:
    """(…, image, word) `p(t | x)` of cosines of the same shape."""
    scaled = SCALE * cosines
    scaled -= scaled.max(axis=-1, keepdims=True)
    np.exp(scaled, out=scaled)
    scaled /= scaled.sum(axis=-1, keepdims=True)
    return scaled


def membership(peaks: Float32) -> Float32:
    """(image,) how surely each image is one that a unit answers to, by its peaks, highest first."""
    low, high = float(peaks[-1]), float(peaks[0])
    share = (peaks.astype(np.float64) - low) / (high - low) if high > low else np.ones(len(peaks))
    return np.asarray(LOWEST + (HIGHEST - LOWEST) * share, np.float32)


def log_expected(probability: Float32, member: Float32) -> Float32:
    """(…, word) `log E[p(t | B)]`.

    Parameters
    ----------
    probability
        (…, image, word) `p(t | x)`.
    member
        (…, image) `p(x ∈ B)`.
    """
    of_word = member[..., None]
    terms = np.multiply(probability, of_word)
    terms += 1 - of_word
    np.log(terms, out=terms)
    return np.asarray(terms.sum(axis=-2))


def soft_wpmi(strong: Float32, silent: Float32, member: Float32) -> Float32:
    """(…, word) the score of each word.

    Parameters
    ----------
    strong, silent
        (…, image, word) `p(t | x)` of the images that a unit answers to, strongest first, and of as many where it is
        silent.
    member
        (…, image) membership of the former; the silent ones count as much, in their order.
    """
    return log_expected(strong, member) - log_expected(silent, member)

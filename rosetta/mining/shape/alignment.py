"""How alike two layers are as wholes, whichever units they have: linear CKA and RSA.

Both compare what two layers make of the same images, and both are kept as one vector per layer over pairs of images,
so that all layers of one model against all of another are one matrix product.

- CKA (Kornblith et al. 2019) with the unbiased estimator of HSIC (Song et al., JMLR 2012; Nguyen et al. 2021): Gram
  matrices of the images, without their diagonal and centred as Székely and Rizzo (2014) centre distances. The inner
  product of two such matrices is that estimator, so their cosine is CKA. It is 0 on average for layers that have
  nothing to do with each other, however many units they have.
- RSA (Kriegeskorte et al. 2008): Spearman correlation of the dissimilarities of images, 1 minus the Pearson
  correlation of what the layer's units say of two of them.

Units come as small thumbs, so a layer is compared in coarse places, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rosetta.mining.plan import ranges

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

EXCHANGES = 20
"""Ways to exchange the images that the null is the mean of."""
LEAST_IMAGES = 4
"""The unbiased estimator takes so many."""
_CHANNELS = 1024
"""Units that are worked on at once."""
_ROUNDING = 1e-6
"""Of its size: what float32 leaves of a sum that cancels."""


@dataclass(frozen=True)
class Geometry:
    """What some layers make of the same `N` images; entries are pairs of images, row by row of the upper triangle."""

    kernel: Float32
    """(layer, pair) centred Gram matrices, of norm 1; NaN for a layer that tells no images apart."""
    ranks: Float32
    """(layer, pair) ranks of dissimilarities, of mean 0 and norm 1; NaN where an image has no pattern."""
    images: int

    def __len__(self) -> int:
        return len(self.kernel)


@dataclass(frozen=True)
class Alignment:
    """Layers of one model against layers of another, (layer_a, layer_b) each."""

    cka: Float32
    cka_null: Float32
    """Mean of the same with the images of A exchanged."""
    rsa: Float32
    rsa_null: Float32


def geometry(layers: Sequence[npt.NDArray[np.float16]]) -> Geometry:
    """What layers make of their images.

    Parameters
    ----------
    layers
        (channel, image, position) of each layer: thumbs of the standardised maps over the same images, at least 4.
        Constant units are 0 everywhere and count for nothing.
    """
    images = layers[0].shape[1]
    found = [_of_layer(thumbs) for thumbs in layers]
    return Geometry(np.stack([kernel for kernel, _ in found]), np.stack([ranks for _, ranks in found]), images)


def exchanges(images: int, random: np.random.Generator, count: int = EXCHANGES) -> npt.NDArray[np.intp]:
    """(exchange, image) orders of the images, drawn at random."""
    return np.stack([random.permutation(images) for _ in range(count)])


def exchanged(of: Geometry, orders: npt.NDArray[np.intp]) -> Geometry:
    """The mean over some exchanges of the images; compared with others it gives the mean of what each would give."""
    upper = np.triu_indices(of.images, 1)
    number = np.zeros((of.images, of.images), dtype=np.intp)
    number[upper] = np.arange(len(upper[0]))
    number += number.T
    kernel, ranks = np.zeros(of.kernel.shape), np.zeros(of.ranks.shape)
    for order in orders:
        pairs = number[order[upper[0]], order[upper[1]]]
        kernel += of.kernel[:, pairs]
        ranks += of.ranks[:, pairs]
    return Geometry((kernel / len(orders)).astype(np.float32), (ranks / len(orders)).astype(np.float32), of.images)


def alignment(a: Geometry, b: Geometry, null: Geometry) -> Alignment:
    """Compare all layers of one model with all layers of another.

    Parameters
    ----------
    null
        `a` as :func:`exchanged`.
    """
    return Alignment(a.kernel @ b.kernel.T, null.kernel @ b.kernel.T, a.ranks @ b.ranks.T, null.ranks @ b.ranks.T)


def _of_layer(thumbs: npt.NDArray[np.float16]) -> tuple[Float32, Float32]:
    """(pair,) centred Gram matrix and centred ranks of a layer."""
    gram, sums, features = _gram(thumbs)
    upper = np.triu_indices(len(gram), 1)
    kernel = _centred(gram)[upper]
    # What rounding leaves of a layer that shows the same on all images is no geometry.
    tells = np.linalg.norm(kernel) > _ROUNDING * np.linalg.norm(gram[upper])
    return _unit(kernel if tells else np.zeros_like(kernel)), _unit(_ranks(gram, sums, features)[upper])


def _gram(thumbs: npt.NDArray[np.float16]) -> tuple[Float64, Float64, int]:
    """(image, image) products and (image,) sums over units and positions, and how many these are."""
    images = thumbs.shape[1]
    gram, sums, features = np.zeros((images, images)), np.zeros(images), 0
    for span in ranges(len(thumbs), _CHANNELS):
        part = thumbs[span].astype(np.float32)
        part = part[part.any(axis=(1, 2))]
        flat = np.ascontiguousarray(part.swapaxes(0, 1)).reshape(images, -1)
        gram += flat @ flat.T
        sums += flat.sum(axis=1, dtype=np.float64)
        features += flat.shape[1]
    return gram, sums, features


def _centred(gram: Float64) -> Float64:
    """Without the diagonal, and centred so that inner products are unbiased."""
    images = len(gram)
    rest = gram - np.diag(np.diag(gram))
    rows = rest.sum(axis=1) / (images - 2)
    return rest - rows[:, None] - rows[None, :] + rows.sum() / (images - 1)


def _ranks(gram: Float64, sums: Float64, features: int) -> Float64:
    """(image, image) ranks of the dissimilarities above the diagonal, of mean 0; NaN where one of them is unknown."""
    upper = np.triu_indices(len(gram), 1)
    covariance = gram - np.outer(sums, sums) / max(1, features)
    power = np.diag(gram)
    # A constant pattern correlates with nothing.
    variance = np.where(np.diag(covariance) > _ROUNDING * power, np.diag(covariance), np.nan)
    similar = covariance / np.sqrt(np.outer(variance, variance))
    ranks = np.full(gram.shape, np.nan)
    if not np.isnan(similar[upper]).any():
        _, place, counts = np.unique(-similar[upper], return_inverse=True, return_counts=True)
        mean_ranks = np.cumsum(counts) - (counts - 1) / 2
        ranks[upper] = mean_ranks[place] - (len(place) + 1) / 2
    return ranks


def _unit(values: Float64) -> Float32:
    """Scaled to norm 1; NaN where all are 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return (values / np.linalg.norm(values)).astype(np.float32)

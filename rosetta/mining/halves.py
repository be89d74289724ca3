"""Two disjoint halves of the images, to see whether what holds in one holds in the other.

Each image is drawn into a half by itself, by seed and stratified by class. So what is specific to one class shows in
both halves. Frames of a film are drawn like any other images: near-duplicates stand on both sides, and replication
says less there.
"""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

LEAST_IMAGES = 16
"""With fewer there are too few ways to exchange them, and halves of a handful."""
_RUNS = 4
"""At least so many runs of neighbouring images, dealt out in turn."""
Mask = npt.NDArray[np.bool_]
"""(image,) whether each image belongs to the first half."""


def drawn_halves(names: Iterable[str], seed: int, classes: Sequence[str] | npt.NDArray[np.integer] | None) -> Mask:
    """Draw the halves by a keyed hash of each image's name.

    Images are sorted by class, then by hash. Of every two neighbours the hash sends one to either half. The halves are
    of the same size, and within each class they differ by at most two images. Neither depends on the order of images.

    Parameters
    ----------
    names
        (image,) distinct names.
    classes
        (image,) class of each; None where all are of one class.

    Returns
    -------
    (image,) bool
        Whether each image belongs to the first half, which takes an odd image.
    """
    keyed = hashlib.blake2b(f"{seed}/".encode(), digest_size=16, person=b"halves")
    high, low = np.frombuffer(b"".join(_hashes(keyed, names)), ">u8").reshape(-1, 2).T
    strata = np.zeros(len(high), np.intp)
    if classes is not None:
        values = np.asarray(classes, object if isinstance(classes, Sequence) else None)
        strata = np.unique(values, return_inverse=True)[1].reshape(-1)
    order = np.lexsort((low, high, strata))
    leaders = order[::2]
    coins = (low[leaders] & 1).astype(bool)
    coins[len(order) // 2 :] = True
    first = np.zeros(len(order), bool)
    first[leaders] = coins
    first[order[1::2]] = ~coins[: len(order) // 2]
    return first


def run_halves(images: int) -> Mask:
    """The halves of stores of earlier versions: runs of neighbouring images, dealt out in turn.

    A run is the largest power of two that makes at least four runs.
    """
    run = 1 << max(0, (images // _RUNS).bit_length() - 1)
    return np.arange(images) // run % 2 == 0


def _hashes(keyed: "hashlib.blake2b", names: Iterable[str]) -> Iterable[bytes]:
    for name in names:
        copy = keyed.copy()
        copy.update(name.encode("utf-8", "surrogateescape"))
        yield copy.digest()

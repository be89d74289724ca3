"""Which entry of a store's `written` says that a chunk is in."""

from collections.abc import Sequence

_ALONG_IMAGES = {
    "activations": ("activation", "peak", "moments"),
    "images.zarr": ("pixels", "source", "stamp", "sha256"),
    "features.zarr": ("feature", "digest"),
}
"""Arrays whose chunks are the blocks of images that `written` is about."""
_OF_A_BATCH = ("frames", "result", "start", "latent", "loss")
"""Of an inversion or an edit: arrays over (guidance, image, …)."""


def marker(store: str, array: str, chunk: tuple[int, ...], layers: Sequence[str] = ()) -> tuple[int, ...] | None:
    """The entry of `written` to take back where a chunk is to be made again.

    Parameters
    ----------
    store
        Path of the store under the root.
    array
        Path of the array in the store.
    chunk
        Its place along each axis.
    layers
        Of a profile: names of its layers, in order.

    Returns
    -------
    tuple of int, or None
        None where no marker is about the chunk: labels, say, which are written with the layout.
    """
    kind = store.partition("/")[0]
    if kind in ("inversions", "edits"):
        return chunk[:2] if array in _OF_A_BATCH or array == "written" else None
    group, _, name = array.rpartition("/")
    if array == "written" or (kind == "correlations" and array == "pearson"):
        return chunk
    if kind == "profiles":
        return (layers.index(group),) if group in layers else None
    return chunk[:1] if name in _ALONG_IMAGES.get(kind, ()) else None

"""How often a run sees all its images where their maps are not stored."""

SUMS_BYTES = 24
"""Of a pair of units, for both halves of the images: sums in float64, and the last few thousand terms in float32."""


def streamed_passes(unit_pairs: int, profile_bytes: int, memory: int) -> int:
    """Passes over all images; in each, every model runs once for each image.

    Devices take different images, so each holds the sums of all pairs that are added up in a pass.

    Parameters
    ----------
    unit_pairs
        Pairs of units, over all pairs of models.
    profile_bytes
        Of the sums that the tests of trust need.
    memory
        Bytes that one device has for sums.
    """
    return max(1, -(-(SUMS_BYTES * unit_pairs + profile_bytes) // memory))

"""Random numbers that follow from the recipe and from what they are for."""

import hashlib

import numpy as np


def seeded(seed: int, *names: str) -> np.random.Generator:
    """A generator of random numbers, the same whenever it is asked for by the same seed and names.

    Parameters
    ----------
    seed
        The recipe's.
    names
        What the numbers are for, of which models say.
    """
    digest = hashlib.blake2b("/".join([str(seed), *names]).encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))

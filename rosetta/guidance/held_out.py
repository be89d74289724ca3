"""How a model that took no part in guiding sees a result: where a target is no image of G, pixels say little."""

from collections.abc import Mapping

import numpy as np

from rosetta.guidance.activation import Maps
from rosetta.guidance.matches import Float64, Matches
from rosetta.guidance.nearest import observed_maps_target


def seen_agreement(matches: Matches, wished: Mapping[str, Maps], seen: Mapping[str, Maps]) -> dict[str, Float64]:
    """Agreement of each model's maps of results with its maps of their targets.

    Parameters
    ----------
    matches
        The pairs whose units are compared: those of the discriminative models, each once.
    wished, seen
        By model, what it puts out for the targets and for the results: (image, channel, y, x) by layer name.

    Returns
    -------
    dict
        By model (image,): the mean over its matched units of the correlation of both maps, normalised with the run's
        statistics. 1 for equal maps.
    """
    targets = observed_maps_target(matches, wished)
    return {name: target(seen[name]).double().cpu().numpy().astype(np.float64) for name, target in targets.items()}

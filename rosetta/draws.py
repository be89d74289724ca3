"""Several draws of random weights: `weights = "random:0..4"` in a recipe stands for five models."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

_MOST = 100
"""Draws of one table."""
_WITHOUT_WEIGHTS = "pixels/"


def drawn_apart(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe as plain data, where each draw of random weights is a model of its own.

    A model with `random:<first>..<last>` becomes `<name>-<seed>` for each seed. All else is left as it is.

    Raises
    ------
    ValueError
        A range is no range, is upside down or too long, or its model has no weights.
    """
    models = recipe.get("models")
    if not isinstance(models, list | tuple):
        return dict(recipe)
    return {**recipe, "models": [draw for model in models for draw in _draws(model)]}


def _draws(model: Any) -> Iterator[Any]:
    weights = model.get("weights") if isinstance(model, Mapping) else None
    if not isinstance(weights, str) or not weights.startswith("random:") or ".." not in weights:
        yield model
        return
    name = model.get("name")
    which = f"model {name!r}: weights = {weights!r}"
    found = re.fullmatch(r"random:([0-9]{1,18})\.\.([0-9]{1,18})", weights)
    if found is None:
        raise ValueError(f"{which}: give the first and the last seed, whole numbers from 0, like random:0..4")
    first, last = map(int, found.groups())
    if first > last:
        raise ValueError(f"{which}: the first seed is larger than the last; give random:{last}..{first}")
    if last - first >= _MOST:
        raise ValueError(f"{which}: {last - first + 1} draws are more than the {_MOST} that one table makes")
    if str(model.get("model")).startswith(_WITHOUT_WEIGHTS):
        raise ValueError(f"{which}: {model['model']} has no weights to draw; leave weights out")
    for seed in range(first, last + 1):
        yield {**model, "name": f"{name}-{seed}", "weights": f"random:{seed}"}

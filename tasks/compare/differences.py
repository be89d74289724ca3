"""What makes two runs others: images, K, models, layers, weights, and what a trusted match must pass."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from storage.artifacts import fingerprint
from storage.run.data import RunData

_PLACES = ("from_", "skip_bad", "max_pixels")
"""Settings of images that say where they lie or how they are read, and not what they are."""
_SHOWN = 12
"""Characters of a digest."""
_NONE = "none"


@dataclass(frozen=True)
class Difference:
    """One thing that two runs do not have in common."""

    what: str
    first: str
    second: str


def differences(first: RunData, second: RunData) -> Iterator[Difference]:
    """All that may make the dictionaries of two runs others; each as the recipe calls it."""
    runs = (first, second)
    settings = [Difference(*one) for one in fingerprint.differences(*map(_settings, runs))]
    yield from settings
    digests = [run.pictures.digest for run in runs]
    if digests[0] != digests[1] and not any(one.what.startswith("images.") for one in settings):
        yield Difference("content of images", *(digest[:_SHOWN] for digest in digests))
    for what in ("targets", "controls"):
        yield from _only("discriminative models" if what == "targets" else what, *(getattr(run, what) for run in runs))
    for model in first.models:
        if model in second.models:
            yield from _of_model(model, *runs)


def _settings(run: RunData) -> dict[str, Any]:
    recipe = run.recipe
    images = recipe.images.model_dump(mode="json", exclude=set(_PLACES))
    return {
        "images": {**images, "count": run.seen},
        "matching": recipe.matching.model_dump(mode="json"),
        "trust": recipe.trust.model_dump(mode="json"),
        "compute": recipe.compute.model_dump(mode="json", include={"precision", "dtype"}),
    }


def _of_model(model: str, first: RunData, second: RunData) -> Iterator[Difference]:
    runs = (first, second)
    # Which weights and layers these are is known from the stores, wherever the recipe took them from.
    apart = {"name", "weights", "match", "layers", "control"}
    specs = [{model: run.spec(model).model_dump(mode="json", exclude=apart)} for run in runs]
    yield from (Difference(*one) for one in fingerprint.differences(*specs))
    weights = [str(run.stores[model].attributes["weights_sha256"]) for run in runs]
    if weights[0] != weights[1]:
        yield Difference(f"weights of {model}", *(digest[:_SHOWN] for digest in weights))
    yield from _only(f"layers of {model}", first.layers(model), second.layers(model))


def _only(what: str, first: Sequence[str], second: Sequence[str]) -> Iterator[Difference]:
    """What one of two lists has and the other lacks."""
    mine, theirs = ([name for name in one if name not in other] for one, other in ((first, second), (second, first)))
    if mine or theirs:
        yield Difference(f"{what} of one run alone", ", ".join(mine) or _NONE, ", ".join(theirs) or _NONE)

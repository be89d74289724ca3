"""A plan over small stores that no recipe was mined for."""

from collections.abc import Callable, Sequence

from rosetta.recipe import Recipe
from storage.artifacts.catalogue import CATALOGUE
from storage.artifacts.fingerprint import Fingerprint, fingerprint
from storage.filesystem.root import Root
from tasks.plan.facts import Facts
from tasks.plan.plan import Plan


def plan_over(root: Root, models: Sequence[str], **given: Fingerprint) -> Plan:
    """A plan of some models on two threads.

    Parameters
    ----------
    given
        Fingerprints by the first word of the artifact's path, `activations` say; all others name path and models.
    """
    specs = [{"name": name, "model": "timm/resnet18", "weights": "random:0"} for name in models]
    recipe = Recipe.model_validate({"name": "small", "root": root.url, "images": {"source": "none"}, "models": specs})

    def of(pattern: str) -> Callable[..., Fingerprint]:
        word = pattern.replace(".", "/").partition("/")[0]
        return lambda plan, *names: given.get(word, fingerprint(pattern, names=names))

    return Plan(recipe, Facts("cpu", threads=2), {one.pattern: of(one.pattern) for one in CATALOGUE})

"""A plan over small stores that no recipe was mined for, and stages by themselves."""

from collections.abc import Callable, Sequence

from rosetta.recipe import Recipe, Trust
from storage.artifacts.catalogue import CATALOGUE
from storage.artifacts.fingerprint import Fingerprint, fingerprint
from storage.filesystem.root import Root
from tasks.correlate.setting import Setting
from tasks.plan import Plan, Stage
from tasks.plan.facts import Facts


def plan_over(
    root: Root,
    models: Sequence[str],
    setting: Setting = Setting(threads=2),
    controls: Sequence[str] = (),
    *,
    neighbours: int = 5,
    trust: Trust = Trust(),
    pairs: str = "anchor",
    **given: Fingerprint,
) -> Plan:
    """A plan of some models, the first of which is the anchor.

    Parameters
    ----------
    given
        Fingerprints by the first word of the artifact's path, `activations` say; all others name path and models.
    """
    recipe = Recipe.model_validate(
        {
            "name": "small",
            "root": root.url,
            "images": {"source": "none"},
            "models": [
                {"name": name, "model": "timm/resnet18", "weights": "random:0", "control": name in controls}
                for name in models
            ],
            "matching": {
                "neighbours": neighbours,
                "keep": setting.keep,
                "correlation": setting.correlation,
                "pairs": pairs,
            },
            "compute": {"memory": f"{setting.memory}"},
            "trust": trust,
        }
    )
    facts = Facts(setting.device, cluster=setting.cluster, threads=setting.threads)

    def of(pattern: str) -> Callable[..., Fingerprint]:
        word = pattern.replace(".", "/").partition("/")[0]
        return lambda plan, *names: given.get(word, fingerprint(pattern, names=names))

    return Plan(recipe, facts, {artifact.pattern: of(artifact.pattern) for artifact in CATALOGUE})


def make(plan: Plan, *stages: Stage) -> None:
    """Run some stages, each for all that it runs for."""
    for stage in stages:
        for names in stage.instances(plan):
            stage.make(plan, names)

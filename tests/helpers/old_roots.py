"""Roots that earlier versions wrote, unpacked."""

import zipfile
from pathlib import Path

from stores_of_versions.make import PLACE

from flows.plan.stages import STAGES
from rosetta.recipe import Recipe, read_recipe
from storage.artifacts.catalogue import CLUSTERS, ROSETTA, TRUST, TRUST_OF_PAIR, instance_at
from tasks.plan import Plan
from tasks.trust.pair import JUDGE_PAIRS

VERSIONS = sorted(path.parent.name for path in PLACE.glob("*/root.zip"))


def unpack(version: str, folder: Path) -> Path:
    """The kept run of a version."""
    with zipfile.ZipFile(PLACE / version / "root.zip") as packed:
        packed.extractall(folder / "root")
    return folder / "root"


def unpack_more(name: str, folder: Path) -> Path:
    """Another root of format 2, and in the folder what it was made from: `searched` or `photos`."""
    with zipfile.ZipFile(PLACE / "2" / f"{name}.zip") as packed:
        packed.extractall(folder)
    return folder / "root"


def recipe_at(root: Path) -> Recipe:
    """What made it, for the place where it lies now."""
    return read_recipe(root / "recipe.toml", str(root), ())


def of_trust(path: str) -> bool:
    """Whether a file follows from the tests of trust, or was not there before there were more of them."""
    artifact = instance_at(path).artifact
    return artifact.added or artifact in (TRUST, TRUST_OF_PAIR, ROSETTA, CLUSTERS)


def is_correlated(plan: Plan) -> bool:
    """Whether nothing is left to do before the tests of trust."""
    return all(stage.is_finished(plan) for stage in STAGES[: STAGES.index(JUDGE_PAIRS)])

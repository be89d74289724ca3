"""Tiny runs of which the maps of some images are stored."""

from pathlib import Path

from tinyzoo import recipe_text

from flows.plan.checks import prepare
from flows.plan.gather import with_images
from flows.plan.stages import STAGES
from rosetta.recipe import parse_recipe
from storage.artifacts import provenance
from storage.filesystem.root import Root
from tasks.plan import Plan, Stage
from tasks.trust.table import JOIN_TRUST

COUNT, KEEP = 150, 16
MODELS = ("painter", "ada", "bob")


def planned(root: Path, *changes: str, images: str = "", models: tuple[str, ...] = MODELS) -> Plan:
    """The plan of a tiny run; of a generator's images unless a source is given."""
    return prepare(parse_recipe(recipe_text(root, models, images, 0 if images else COUNT), root.name, None, changes))


def mined(
    root: Path, *changes: str, images: str = "", models: tuple[str, ...] = MODELS, stop: Stage | None = None
) -> Plan:
    """A tiny run, mined up to the judging of its matches, or to the stage before `stop`."""
    plan = planned(root, *changes, images=images, models=models)
    provenance.write_recipe(plan.root, plan.recipe)  # by which workers see the root
    for stage in STAGES[: STAGES.index(JOIN_TRUST) + 1 if stop is None else STAGES.index(stop)]:
        for names in stage.instances(plan):
            stage.make(plan, names)
        if plan.facts.files and not plan.knows_images:
            plan = with_images(plan)
    return plan


def files(root: Root, *folders: str) -> dict[str, bytes]:
    """Everything in some folders of a root."""
    return {path: root.read_bytes(path) for folder in folders for path in root.find(folder)}

"""Whole runs in this process, one stage after the other, without Prefect."""

from pathlib import Path

from flows.plan.checks import prepare
from flows.plan.gather import with_images
from flows.plan.stages import STAGES
from rosetta.recipe import read_recipe
from storage.artifacts import provenance
from tasks.plan import Plan


def mined_here(recipe: Path) -> Plan:
    """Mine a recipe's run, page included."""
    plan = prepare(read_recipe(recipe))
    provenance.write_recipe(plan.root, plan.recipe)  # by which workers see the root
    for stage in STAGES:
        for names in stage.instances(plan):
            stage.make(plan, names)
        if plan.facts.files and not plan.knows_images:
            plan = with_images(plan)
    return plan

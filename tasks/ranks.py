"""A tile of rank correlations: one task that goes through all images."""

from functools import partial

from rosetta.mining.plan import PairPlan, Tile
from rosetta.mining.spearman import spearman
from tasks.engine import part_done
from tasks.tiles import Job, halves, set_up, write_panels


def rank_tile(job: Job, tile: Tile, plan: PairPlan) -> None:
    """Rank a tile's maps, correlate the ranks and write its panels."""
    set_up(job)
    a, b = halves(job, tile)
    images = slice(0, plan.images)
    found = spearman(
        a.units,
        partial(a.steps, images, plan.step_images),
        b.units,
        partial(b.steps, images, plan.step_images),
        a.constant,
        b.constant,
        images=plan.images,
        exact=plan.way == "spearman, exact",
    )
    write_panels(job, tile, lambda rows, columns: found[rows, columns])
    part_done()

"""The atlas of a finished run: everything that its page loads, and what the page itself must know."""

from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd

from rosetta.mining.trust.tests import TESTS
from rosetta.view.atlas.columns import columns
from rosetta.view.atlas.script import number, put
from rosetta.view.atlas.sheets import PER_SHEET, THUMB
from storage.artifacts.provenance import RECIPE
from storage.filesystem.root import Root
from tasks.report.atlas.concepts import concept_files, concepts_file, search_file, strongest_concepts
from tasks.report.atlas.maps import gather, image_files
from tasks.report.atlas.pictures import card_files, picture_files
from tasks.report.atlas.plots import plots_file
from tasks.report.atlas.rankings import Rankings, rank
from tasks.report.atlas.run import AtlasRun, write_files
from tasks.report.atlas.units import near_concepts, nearest, unit_files
from tasks.stage.progress import track
from tasks.trust.summary import in_all


def write_atlas(run: AtlasRun, fingerprint: str, out: Root | None = None) -> dict[str, Any]:
    """Write everything but the page itself; what was there before and has another name stays.

    Parameters
    ----------
    fingerprint
        Digest of what the page is made from.
    out
        The folder that the files go into; `report/` of the run, if left out.

    Returns
    -------
    dict
        `run`, as the page's shell holds it (:mod:`rosetta.view.atlas`).
    """
    target = out or Root(f"{run.root.url}/report")
    rankings = rank(run)
    with track("report", _count(run, rankings)) as advance:
        write_files(target, _files(run, rankings), advance)
    return summary(run, rankings, fingerprint)


def _count(run: AtlasRun, rankings: Rankings) -> int:
    """How many files there will be."""
    sheets = -(-run.pictures.count // PER_SHEET) + -(-run.concepts // PER_SHEET)
    layers = sum(len(units.layers) for units in run.units)
    return 3 + len(run.tables) + layers + sheets + 2 * len(rankings.shown) + run.concepts


def _files(run: AtlasRun, rankings: Rankings) -> Iterator[tuple[str, bytes]]:
    """All files, what is shown first before the rest; computed as they are asked for."""
    yield concepts_file(run, rankings)
    yield search_file(run)
    known = nearest(run)
    yield plots_file(run, known)
    for name, frame in run.tables.items():
        yield f"data/table/{name}.js", put(f"table/{name}", _columns(frame))
    yield from unit_files(run, rankings, known)
    gathered = gather(run, rankings)
    on_cards = rankings.activation[:, 0]
    thumbs: dict[int, Any] = {}
    yield from picture_files(run.pictures, set(rankings.shown.tolist()), set(on_cards.tolist()), thumbs)
    yield from chain(
        card_files(on_cards, thumbs, gathered.cards),
        image_files(run, rankings, gathered),
        concept_files(run, rankings, gathered.concepts, near_concepts(run) if run.concepts else []),
    )


def _columns(frame: pd.DataFrame) -> dict[str, list[Any]]:
    return columns({str(name): frame[name].to_numpy() for name in frame.columns})


def summary(run: AtlasRun, rankings: Rankings, fingerprint: str) -> dict[str, Any]:
    """What the page's shell says of the run."""
    return {
        "name": run.recipe.name,
        "anchor": run.anchor,
        "images": run.pictures.count,
        "thumb": THUMB,
        "per_sheet": PER_SHEET,
        "neighbours": run.k,
        "concepts": run.concepts,
        "rosetta": len(run.neurons),
        "judged": run.judged,
        "trusted": int(run.trusted.sum()),
        "trusted_concepts": int((run.trusted > 0).sum()),
        "tests": [{"name": test.name, "word": test.word, "passed": test.passed} for test in TESTS],
        "judgement": ". ".join(note[0].upper() + note[1:] for note in run.notes),
        "fingerprint": fingerprint,
        "command": f"rosetta mine {RECIPE}",
        "root": run.root.shown,
        "trust_page": None,
        "tables": list(run.tables),
        "shown": rankings.shown.tolist(),
        "strongest": strongest_concepts(run, rankings),
        "models": [_model(run, place) for place in range(len(run.models))],
    }


def _model(run: AtlasRun, place: int) -> dict[str, Any]:
    spec, store, units = run.models[place], run.stores[place], run.units[place]
    buddies, anchor = run.tables["buddies"], run.models[run.anchor].name
    if place == run.anchor:
        pairs = buddies[(buddies["model_a"] == anchor) & ~buddies["model_b"].isin([anchor, *run.controls])]
        matched = pairs["unit_a"].nunique()
    else:
        pairs = run.pairs(buddies, spec.name)
        matched = pairs["unit_b"].nunique()
    members = run.rosetta.loc[run.rosetta["place"] == place, "unit"]
    judged = run.judged and place != run.anchor
    survives = in_all(run.pairs(run.tables["trust"], spec.name), run.recipe.trust) if judged else None
    layers = [
        {
            "name": layer.name,
            "channels": layer.channels,
            "first": span.start,
            "grid_y": layer.grid[0],
            "grid_x": layer.grid[1],
        }
        for layer, span in units.spans()
    ]
    return {
        "name": spec.name,
        "model": spec.model,
        "kind": "generator" if store.group.attrs.get("generator") else "discriminative",
        "control": spec.control,
        "units": len(units),
        "matched": int(matched),
        "buddies": len(pairs),
        "rosetta": int(members.nunique()),
        "median": number(float(np.median(pairs["pearson"]))) if len(pairs) else None,
        "survives": survives,
        "layers": layers,
    }

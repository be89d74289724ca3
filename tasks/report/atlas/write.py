"""The atlas of a finished run: everything that its page loads, and what the page itself must know."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from itertools import chain
from typing import Any

from rosetta.mining.trust.survival import in_all
from rosetta.mining.trust.tests import TESTS
from rosetta.view.atlas.script import columns, number, put
from rosetta.view.atlas.sheets import PER_SHEET, THUMB
from rosetta.view.null_words import phrase
from storage.artifacts import after_mining
from storage.artifacts.provenance import RECIPE
from storage.filesystem.root import Root
from tasks.report.atlas.class_profiles import class_profiles
from tasks.report.atlas.concepts import concept_files, concepts_file, search_file, strongest_concepts
from tasks.report.atlas.explained import ExplainedImages
from tasks.report.atlas.findings import Findings
from tasks.report.atlas.maps import gather, image_files
from tasks.report.atlas.names import about_names, has_notes, has_words, name_files
from tasks.report.atlas.pictures import card_files, picture_files
from tasks.report.atlas.plots import plots_file
from tasks.report.atlas.rankings import Rankings, rank
from tasks.report.atlas.run import AtlasRun
from tasks.report.atlas.unit_files import PerFile, count_unit_files, unit_files, units_per_file
from tasks.report.atlas.unit_maps import UnitMaps
from tasks.report.atlas.units import Known, near_concepts, nearest
from tasks.stage.metrics import ContextThreads
from tasks.stage.progress import Advance, track

_AT_ONCE = 64
"""Files that may wait for their disk at once."""


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
    rankings, findings, explained, known = rank(run), Findings.of(run), ExplainedImages.of(run), nearest(run)
    maps = UnitMaps.of(run, rankings, known)
    per_file = units_per_file(run, maps)
    with track("report", _count(run, rankings, per_file) + len(explained)) as advance:
        files = _files(run, rankings, findings, known, maps, per_file)
        _write_files(target, chain(files, explained.files()), advance)
    return summary(run, rankings, findings, fingerprint, per_file)


def _write_files(out: Root, files: Iterable[tuple[str, bytes]], advance: Advance) -> None:
    """Write files beside the work on the next ones: each waits for its disk or its object store."""
    waiting: deque[Future[None]] = deque()
    with ContextThreads() as pool:
        for file in files:
            if len(waiting) == _AT_ONCE:
                waiting.popleft().result()
            waiting.append(pool.submit(out.write_bytes, *file))
            advance(1)
        for written in waiting:
            written.result()


def _count(run: AtlasRun, rankings: Rankings, per_file: PerFile) -> int:
    """How many files there will be."""
    sheets = -(-run.pictures.count // PER_SHEET) + -(-run.concepts // PER_SHEET)
    units, named = count_unit_files(run, per_file) + len(rankings.of_units), has_words(run) + has_notes(run.root)
    return 4 + named + len(run.shown_tables) + units + sheets + 2 * len(rankings.shown) + run.concepts


def _files(
    run: AtlasRun, rankings: Rankings, findings: Findings, known: Known, maps: UnitMaps, per_file: PerFile
) -> Iterator[tuple[str, bytes]]:
    """All files, what is shown first before the rest; computed as they are asked for."""
    yield concepts_file(run, rankings, findings)
    yield search_file(run)
    yield class_profiles(run)
    yield from name_files(run)
    yield plots_file(run, known, findings)
    for table in run.shown_tables:
        frame = run.table(table)
        value = columns({str(name): frame[name].to_numpy() for name in frame.columns})
        yield f"data/table/{table.name}.js", put(f"table/{table.name}", value)
    gathered = gather(run, rankings, maps)
    on_cards = rankings.activation[:, 0]
    thumbs: dict[int, Any] = {}
    shown, of_units = set(rankings.shown.tolist()), set(rankings.of_units.tolist())
    yield from picture_files(run.pictures, shown, of_units, set(on_cards.tolist()), thumbs)
    yield from card_files(on_cards, thumbs, gathered.cards)
    yield from image_files(run, rankings, gathered)
    yield from unit_files(run, rankings, known, maps, per_file)
    near = near_concepts(run) if run.concepts else []
    yield from concept_files(run, rankings, gathered.concepts, near, findings)


def summary(
    run: AtlasRun, rankings: Rankings, findings: Findings, fingerprint: str, per_file: PerFile
) -> dict[str, Any]:
    """What the page's shell says of the run."""
    return {
        "name": run.recipe.name,
        "anchor": run.index[run.anchor],
        "images": run.pictures.count,
        "seen": run.seen,
        "indices": run.image_indices.tolist() if run.keeps_some else None,
        "thumb": THUMB,
        "per_sheet": PER_SHEET,
        "neighbours": run.k,
        "concepts": run.concepts,
        "rosetta": len(run.neurons),
        "judged": run.judged,
        "trusted": run.trusted,
        "trusted_concepts": int((run.trusted_by_concept > 0).sum()),
        "tests": [
            {"name": test.name, "word": test.word, "passed": test.passed, "asked": test.name in run.recipe.trust.tests}
            for test in TESTS
        ],
        "null": phrase(run.null_counts),
        "judgement": ". ".join(note[0].upper() + note[1:] for note in filter(None, [run.kept, *run.judging_notes])),
        "fingerprint": fingerprint,
        "command": f"rosetta mine {RECIPE}",
        "root": run.root.shown,
        "trust_page": None,
        **about_names(run),
        "tables": [table.name for table in run.shown_tables],
        "about": {table.name: table.about for table in run.shown_tables},
        "added": after_mining.fingerprints(run.root),
        "outdated": [{"table": table.path(), "command": table.command} for table in run.outdated],
        "found": findings.counts(run.clusters["cluster"]),
        "shown": rankings.shown.tolist(),
        "strongest": strongest_concepts(run, rankings, findings),
        "models": [_model(run, model, per_file[model]) for model in run.models],
    }


def _model(run: AtlasRun, model: str, per_file: list[int]) -> dict[str, Any]:
    facts = run.summary.loc[model]
    judged = run.judged and model != run.anchor
    layers = [
        {
            "name": layer.name,
            "channels": layer.channels,
            "first": span.start,
            "grid_y": layer.grid[0],
            "grid_x": layer.grid[1],
            "per_file": count,
        }
        for (layer, span), count in zip(run.stores[model].units.spans(), per_file, strict=True)
    ]
    return {
        "name": model,
        "model": facts["zoo"],
        "kind": "generator" if model == run.generator else "discriminative",
        "control": model in run.controls,
        **{count: int(facts[count]) for count in ("units", "matched", "buddies", "rosetta")},
        "median": number(facts["median_pearson"]),
        "survives": in_all(run.with_anchor(run.trust, model), run.recipe.trust) if judged else None,
        "layers": layers,
    }

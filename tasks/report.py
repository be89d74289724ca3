"""Stage `report`: tables and stores into `report/index.html`, the dictionary that a person looks at."""

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from rosetta.recipe import ModelSpec, Recipe, Trust
from rosetta.view.heatmap import overlay
from rosetta.view.page import Concept, Dictionary, Member, ModelSummary, Neuron, Survival, render
from rosetta.view.page import Trust as Verdict
from rosetta.view.plots import correlation_histogram, layer_matches
from rosetta.view.selectivity import selectivity_plot
from rosetta.view.sprite import webp
from rosetta.view.trust_page import render_trust
from storage import tables
from storage.activations import ActivationStore
from storage.blocks import block_slice
from storage.fingerprint import Fingerprint
from storage.images import PATH as IMAGES
from storage.images import ImageStore
from storage.location import Root
from storage.provenance import RECIPE
from storage.zarrs import open_complete
from tasks.neighbours import neighbours
from tasks.progress import track
from tasks.stage import Outcome, stage
from tasks.survival import passes
from tasks.trust_page import TRUST_PAGE, trust_story

PAGE = "report/index.html"

_ROWS = 6
"""Images shown of a concept."""
_TILE = 96
"""Pixels of a tile's side."""
_PICTURED = 400
"""Concepts with a picture, the strongest first: bounds the page and what is held at once."""


@stage("report")
def write_report(root: Root, wanted: Fingerprint, recipe: Recipe, anchor: str, models: Sequence[ModelSpec]) -> Outcome:
    """Write the page and its pictures; the page last, so that it never shows what is not there."""
    if is_written(root, wanted):
        return "skipped"
    root.remove("report")
    run = _Run.read(root, recipe, anchor, models)
    concepts = _concepts(run)
    shown = concepts[:_PICTURED]
    with track("report", len(shown)) as advance:
        tiles = _draw(run, [concept.images for concept in shown], [concept.neurons[0].members for concept in shown])
        with ThreadPoolExecutor() as pool:
            for concept, picture in zip(shown, pool.map(webp, tiles), strict=True):
                root.write_bytes(f"report/{concept.picture}", picture)
                advance(1)
    judged = bool(run.trust["p_value"].notna().any())
    notes = tuple(tables.attributes(root, "trust").get("notes", ()))
    page = Dictionary(
        name=recipe.name,
        anchor=anchor,
        images=run.pictures.count,
        neighbours=recipe.matching.neighbours,
        models=tuple(_summary(run, spec) for spec in models),
        concepts=tuple(concepts),
        rosetta=run.rosetta["rosetta"].nunique(),
        histogram=_histogram(run, models),
        layer_plots=tuple(_layer_plot(run, spec.name) for spec in models if spec.name != anchor),
        fingerprint=wanted.digest,
        command=f"rosetta mine {RECIPE}",
        judged=judged,
        trusted=int(run.rosetta.loc[run.rosetta["model"] == anchor, "trusted"].sum()),
        judgement=". ".join(note[0].upper() + note[1:] for note in notes),
        q=recipe.trust.q,
        partial=recipe.trust.partial,
        trust_page=TRUST_PAGE if judged else "",
        selectivity=_selectivity(run, models),
    )
    if judged:
        story = trust_story(root, recipe, anchor, run.trust, page.judgement, wanted.digest)
        root.write_bytes(f"report/{TRUST_PAGE}", render_trust(story).encode())
    root.write_bytes(PAGE, render(page).encode())
    return "done"


def is_written(root: Root, wanted: Fingerprint) -> bool:
    """Whether the page is there and was made from the same."""
    return root.exists(PAGE) and wanted.digest.encode() in root.read_bytes(PAGE)


@dataclass(frozen=True)
class _Run:
    """What the page is made from."""

    root: Root
    anchor: str
    controls: frozenset[str]
    stores: dict[str, ActivationStore]
    pictures: ImageStore
    units: pd.DataFrame
    buddies: pd.DataFrame
    rosetta: pd.DataFrame
    clusters: pd.DataFrame
    trust: pd.DataFrame
    knobs: Trust

    @classmethod
    def read(cls, root: Root, recipe: Recipe, anchor: str, models: Sequence[ModelSpec]) -> "_Run":
        return cls(
            root,
            anchor,
            frozenset(spec.name for spec in models if spec.control),
            {spec.name: ActivationStore.read(root, spec.name) for spec in models},
            ImageStore(open_complete(root, IMAGES)),
            **{table: tables.read(root, table) for table in ("units", "buddies", "rosetta", "clusters", "trust")},
            knobs=recipe.trust,
        )

    def with_anchor(self, model: str) -> pd.DataFrame:
        """The buddies of a model with the anchor."""
        rows = self.buddies
        return rows[(rows["model_a"] == self.anchor) & (rows["model_b"] == model)]


def _concepts(run: _Run) -> list[Concept]:
    neurons: dict[int, list[Neuron]] = defaultdict(list)
    for (cluster, rosetta), rows in run.rosetta.groupby(["cluster", "rosetta"], sort=True):
        members = tuple(
            Member(
                str(row.model),
                str(row.layer),
                int(row.channel),
                int(row.unit),
                None if np.isnan(row.pearson) else float(row.pearson),
                None if row.model == run.anchor else _trust(row),
            )
            for row in rows.itertuples()
        )
        weakest = next(row for row in rows.itertuples() if row.model == run.anchor)
        neurons[cluster].append(Neuron(int(rosetta), float(weakest.mean_pearson), members, _trust(weakest)))
    # One read of each layer's peaks, however many concepts it is in.
    peaks = {layer.name: run.stores[run.anchor].peaks(layer.name) for layer in run.stores[run.anchor].units.layers}
    concepts: list[Concept] = []
    for row in run.clusters.itertuples():
        mine = tuple(neurons[row.cluster])
        first = mine[0].members[0]
        images = np.argsort(-peaks[first.layer][:, first.channel], kind="stable")[:_ROWS]
        pictured = len(concepts) < _PICTURED
        concepts.append(
            Concept(
                int(row.cluster),
                int(row.size),
                float(row.mean_pearson),
                float(row.min_pearson),
                mine,
                f"concept-{row.cluster:05d}.webp" if pictured else "",
                ("image", *(member.model for member in mine[0].members)),
                len(images) if pictured else 0,
                tuple(map(int, images)) if pictured else (),
                _trust(row),
                int(row.trusted_neurons),
            )
        )
    return concepts


def _trust(row: Any) -> Verdict:
    """What a row of a table says of trust."""
    return Verdict(
        float(row.q_value), bool(row.replicates), float(row.lift), float(row.pearson_partial), bool(row.trusted)
    )


def _draw(
    run: _Run, images: Sequence[tuple[int, ...]], members: Sequence[tuple[Member, ...]]
) -> list[npt.NDArray[np.uint8]]:
    """Per concept (row, column, y, x, rgb) tiles: the image, then each member's map over it.

    Chunks hold all channels of a block of images, so the wanted maps are gathered block by block: each chunk is read
    once however many concepts look into it.
    """
    tiles = [
        np.zeros((len(rows), len(columns) + 1, _TILE, _TILE, 3), dtype=np.uint8)
        for rows, columns in zip(images, members, strict=True)
    ]
    pixels = _gather_pixels(run.pictures, sorted({image for rows in images for image in rows}))
    wanted: dict[tuple[str, str], list[tuple[int, int, int, int, int]]] = defaultdict(list)
    for concept, (rows, columns) in enumerate(zip(images, members, strict=True)):
        for row, image in enumerate(rows):
            tiles[concept][row, 0] = overlay(pixels[image], np.zeros((1, 1)), 0.0, 1.0, _TILE)
            for column, member in enumerate(columns, start=1):
                place = (image, member.channel, concept, row, column)
                wanted[member.model, member.layer].append(place)
    scales = run.units.set_index(["model", "layer", "channel"])[["mean", "maximum"]].to_dict("index")
    for (model, layer), places in wanted.items():
        store = run.stores[model]
        for block, inside in _by_block(places, store.block).items():
            span = block_slice(block, store.block, store.images)
            maps = store.maps(layer, span)
            for image, channel, concept, row, column in inside:
                scale: dict[str, Any] = scales[model, layer, channel]
                activation = maps[image - span.start, channel].astype(np.float32)
                tiles[concept][row, column] = overlay(
                    pixels[image], activation, float(scale["mean"]), float(scale["maximum"]), _TILE
                )
    return tiles


def _by_block(
    places: Sequence[tuple[int, int, int, int, int]], size: int
) -> dict[int, list[tuple[int, int, int, int, int]]]:
    blocks: dict[int, list[tuple[int, int, int, int, int]]] = defaultdict(list)
    for place in places:
        blocks[place[0] // size].append(place)
    return blocks


def _gather_pixels(pictures: ImageStore, images: Sequence[int]) -> dict[int, npt.NDArray[np.uint8]]:
    found: dict[int, npt.NDArray[np.uint8]] = {}
    for block in sorted({image // pictures.block for image in images}):
        span = block_slice(block, pictures.block, pictures.count)
        pixels = pictures.pixels(span)
        found |= {image: pixels[image - span.start].copy() for image in images if span.start <= image < span.stop}
    return found


def _summary(run: _Run, spec: ModelSpec) -> ModelSummary:
    store = run.stores[spec.name]
    if spec.name == run.anchor:
        pairs = run.buddies[(run.buddies["model_a"] == run.anchor) & (run.buddies["model_b"] != run.anchor)]
        pairs = pairs[~pairs["model_b"].isin(run.controls)]
        matched = pairs["unit_a"].nunique()
    else:
        pairs = run.with_anchor(spec.name)
        matched = pairs["unit_b"].nunique()
    return ModelSummary(
        name=spec.name,
        model=spec.model,
        kind="generator" if store.group.attrs["generator"] else "discriminative",
        control=spec.control,
        units=len(store.units),
        layers=len(store.units.layers),
        matched=int(matched),
        buddies=len(pairs),
        rosetta=int(run.rosetta.loc[run.rosetta["model"] == spec.name, "unit"].nunique()),
        median_pearson=float(pairs["pearson"].median()) if len(pairs) else float("nan"),
        survives=None if spec.name == run.anchor else _survival(run, spec.name),
    )


def _survival(run: _Run, model: str) -> Survival:
    rows = run.trust[(run.trust["model_a"] == run.anchor) & (run.trust["model_b"] == model)]
    counts = passes(rows, run.knobs).sum()
    lift = int(counts["lift"]) if rows["lift"].notna().any() else None
    return Survival(
        int(counts["chance"]), int(counts["replicates"]), lift, int(counts["partial"]), int(counts["trusted"])
    )


def _selectivity(run: _Run, models: Sequence[ModelSpec]) -> str:
    """Kurtosis and half share of the units in Rosetta neurons, and of all others."""
    shared = set(zip(run.rosetta["model"], run.rosetta["unit"], strict=True))
    inside, outside = {}, {}
    for spec in models:
        if not spec.control:
            rows = run.units[run.units["model"] == spec.name]
            held = np.array([(spec.name, unit) in shared for unit in rows["unit"]], dtype=bool)
            values = rows["kurtosis"].to_numpy(), rows["half_share"].to_numpy()
            inside[spec.name] = values[0][held], values[1][held]
            outside[spec.name] = values[0][~held], values[1][~held]
    return selectivity_plot(inside, outside)


def _histogram(run: _Run, models: Sequence[ModelSpec]) -> str:
    best, buddies = {}, {}
    for spec in models:
        if spec.name == run.anchor:
            continue
        highest = neighbours(run.root, run.anchor, spec.name, 1)[0].pearson[:, 0]
        best[spec.name] = highest[~np.isnan(highest)]
        buddies[spec.name] = run.with_anchor(spec.name)["pearson"].to_numpy()
    return correlation_histogram(best, buddies, run.controls)


def _layer_plot(run: _Run, model: str) -> tuple[str, str]:
    rows = [layer.name for layer in run.stores[run.anchor].units.layers]
    columns = [layer.name for layer in run.stores[model].units.layers]
    pairs = run.with_anchor(model)
    counts = pd.crosstab(pairs["layer_a"], pairs["layer_b"]).reindex(index=rows, columns=columns, fill_value=0)
    plot = layer_matches(counts.to_numpy(), rows, columns, f"{run.anchor} × {model}")
    return f"{len(pairs):,} buddies of {run.anchor} in {model}", plot

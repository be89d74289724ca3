"""Stage `page`: an inversion or an edit as a page beside the dictionary."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from rosetta.guidance.activation import Maps
from rosetta.guidance.edited_maps import EditedMaps
from rosetta.guidance.latent import SpaceName, space_of
from rosetta.guidance.settings import Editing
from rosetta.view.guided.contents import Film, GuidedImage, GuidedPage, MapSheet, Panel
from rosetta.view.guided.loss_plot import loss_traces
from rosetta.view.guided.page import render_guided
from rosetta.view.pictures.heatmap import overlay
from rosetta.view.pictures.sprite import TILE, webp
from rosetta.zoo.image_arrays import from_pixels
from storage.artifacts.fingerprint import Fingerprint
from storage.artifacts.guided import GuidedStore, read_table
from storage.artifacts.seals import break_seal
from storage.filesystem.root import Root
from storage.run.data import RunData
from tasks.guided.edit import edited_maps_of_generator
from tasks.guided.inputs import Inputs, class_tensor
from tasks.guided.matches import GuidedRun
from tasks.guided.metrics import numbers_of, summary_table
from tasks.stage.progress import track
from tasks.stage.stage import Outcome, stage

SHOWN = 16
"""Images on a page; the store holds all."""
CONCEPTS = 4
"""Concepts whose maps are shown where none is named: the strongest."""

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Story:
    """What a page says of a search, beside its images."""

    lede: str
    settings: Sequence[tuple[str, str]]
    models: Sequence[str]
    """Discriminative models whose maps are shown."""
    clusters: Sequence[int] | None = None
    """Concepts whose maps are shown; the strongest where none are named."""


def _kept(run: RunData) -> list[tuple[str, str]]:
    """What a reader must know of the numbers that maps are standardised by, where not all maps were kept."""
    if not run.keeps_some:
        return []
    return [("means and deviations", f"of the {run.pictures.count:,} images that were kept of {run.seen:,}")]


@stage("page {where}")
def write_page(
    root: Root,
    fingerprint: Fingerprint,
    where: str,
    story: Story,
    editing: Editing | None = None,
    others: Mapping[str, Inputs] | None = None,
) -> Outcome:
    """`index.html` and its pictures; the page last, so that it never shows what is not there.

    Parameters
    ----------
    editing
        The settings of an edit; None for an inversion.
    others
        The other images that edits take from.
    """
    page = f"{where}/index.html"
    if root.exists(page) and fingerprint.digest.encode() in root.read_bytes(page):
        return "skipped"
    break_seal(root, where)
    store = GuidedStore.read(root, where)
    metrics = read_table(root, where, "metrics", fingerprint)
    assert metrics is not None
    run = GuidedRun.open(root)
    kind: Literal["inversion", "edit"] = "inversion" if editing is None else "edit"
    count = min(len(store.sources), SHOWN)
    sheets = _sheets(run, store, story, editing, others or {}, count)
    seen = slice(count)
    frames, targets, losses = store.found("frames", seen), store.targets(seen), store.found("loss", seen)
    titles, classes = store.sources[:count], store.classes(seen)
    if classes is not None:
        titles = [f"{title}, class {index}" for title, index in zip(titles, classes, strict=True)]
    images = []
    with track(f"page {where}", count) as advance:
        for image in range(count):
            prefix = f"pictures/{image:03d}"
            films = []
            for number, guidance in enumerate(store.guidance):
                strip = f"{prefix}-way-{number}.webp"
                root.write_bytes(f"{where}/{strip}", webp(_tiles(frames[number, image])[None]))
                films.append(Film(_caption(kind, guidance), strip, frames.shape[2], tuple(store.frame_steps)))
            target = None if targets is None else targets[image]
            panels = []
            for number, (caption, pixels, result_of) in enumerate(_panels(kind, store, target, frames[:, image])):
                file = f"{prefix}-{number}.webp"
                root.write_bytes(f"{where}/{file}", webp(pixels[None, None], quality=95))
                numbers = () if result_of is None else numbers_of(metrics, kind, result_of, image)
                panels.append(Panel(caption, file, numbers))
            sheet = None
            if sheets is not None:
                sheet = replace(sheets[0], picture=f"{prefix}-maps.webp")
                root.write_bytes(f"{where}/{sheet.picture}", webp(sheets[1][image]))
            trace = loss_traces(
                {
                    term: {guidance: losses[row, image, :, column] for row, guidance in enumerate(store.guidance)}
                    for column, term in enumerate(store.terms)
                }
            )
            images.append(GuidedImage(titles[image], tuple(panels), tuple(films), sheet, trace))
            advance(1)
    content = GuidedPage(
        kind=kind,
        name=where.rpartition("/")[2],
        run=run.data.name,
        lede=story.lede,
        summary=summary_table(metrics, kind, len(store.sources), count),
        images=tuple(images),
        settings=(*story.settings, *_kept(run.data)),
        fingerprint=fingerprint.digest,
        command=f"rosetta {'invert' if editing is None else 'edit'} {root.shown}",
        home="../../report/index.html",
        trust="../../report/trust.html" if root.exists("report/trust.html") else None,
    )
    root.write_bytes(page, render_guided(content).encode())
    return "done"


def _caption(kind: str, guidance: str) -> str:
    return "after" if kind == "edit" else f"result, {guidance}"


def _panels(
    kind: str, store: GuidedStore, target: Pixels | None, frames: Pixels
) -> Iterator[tuple[str, Pixels, str | None]]:
    """What was given, where the search began, and each result: caption, picture, and of a result its guidance.

    Parameters
    ----------
    frames
        (guidance, frame, y, x, rgb) of one image.
    """
    if target is not None and kind == "inversion":
        yield "target", target, None
    elif target is not None and (target != frames[0, 0]).any():
        yield "given", target, None
    yield "before" if kind == "edit" else "start", frames[0, 0], None
    for guidance, way in zip(store.guidance, frames, strict=True):
        yield _caption(kind, guidance), way[-1], guidance


def _tiles(pixels: Pixels) -> Pixels:
    """(frame, TILE, TILE, rgb)."""
    return np.stack([overlay(frame, np.zeros((1, 1)), 0.0, 1.0, TILE) for frame in pixels])


@dataclass(frozen=True)
class _Column:
    """One model's maps of all images."""

    caption: str
    model: str
    maps: Maps
    pixels: Pixels
    """(image, y, x, rgb) what the maps are laid over."""


def _sheets(
    run: GuidedRun,
    store: GuidedStore,
    story: Story,
    editing: Editing | None,
    others: Mapping[str, Inputs],
    count: int,
) -> tuple[MapSheet, list[Pixels]] | None:
    """Maps of some concepts' best neurons before and after: G's own, and those of the models that judge or guide.

    Returns
    -------
    tuple
        What stands around the maps, and for each image (row, column, TILE, TILE, rgb); None where there is no concept.
    """
    concepts = list(story.clusters or sorted(run.matches.clusters)[:CONCEPTS])[:8]
    if not concepts:
        return None
    rosetta = run.data.rosetta.sort_values("rosetta", kind="stable")
    best = [rosetta[rosetta["cluster"] == cluster] for cluster in concepts]
    columns = _sheet_columns(run, store, story, editing, others, slice(count))
    units = {
        model: [int(rows.loc[rows["model"] == model, "unit"].iloc[0]) for rows in best]
        for model in (run.data.anchor, *story.models)
    }
    tiles = [
        np.array([[_tile(run, of, units[of.model][row], image) for of in columns] for row in range(len(concepts))])
        for image in range(count)
    ]
    titles = tuple(
        f"concept {cluster} · {rows['layer'].iloc[0]}:{rows['channel'].iloc[0]}"
        for cluster, rows in zip(concepts, best, strict=True)
    )
    return MapSheet(tuple(column.caption for column in columns), titles, ""), tiles


def _sheet_columns(
    run: GuidedRun, store: GuidedStore, story: Story, editing: Editing | None, others: Mapping[str, Inputs], seen: slice
) -> list[_Column]:
    generator, classes, last = run.data.anchor, store.classes(seen), len(store.guidance) - 1
    space = space_of(run.generator, _space(store), class_tensor(classes))
    start, end = (torch.from_numpy(store.found(name, seen)[last]) for name in ("start", "latent"))
    with torch.no_grad():
        first, final = (space.render(latents.to(space.model.device)).maps for latents in (start, end))
    frames, targets = store.found("frames", seen)[last], store.targets(seen)
    before, after = frames[:, 0], frames[:, -1]
    early, late = ("start", "result") if editing is None else ("before", "after")
    columns = [_Column(f"{generator} {early}", generator, first, before)]
    if editing is not None:
        edited = edited_maps_of_generator(run, start, classes, editing, others)
        columns.append(_Column(f"{generator} asked", generator, _whole(edited), before))
    columns.append(_Column(f"{generator} {late}", generator, final, after))
    shows = [(late, after)]
    if editing is not None:
        shows.insert(0, (early, before))
    elif targets is not None:
        shows.insert(0, ("target", targets))
    for name in story.models:
        model = run.model(name)
        for caption, pixels in shows:
            maps = model.observe(from_pixels(pixels, model.device))
            columns.append(_Column(f"{name} {caption}", name, maps, pixels))
    return columns


def _tile(run: GuidedRun, column: _Column, unit: int, image: int) -> Pixels:
    statistics = run.statistics(column.model)
    layer, span = next((layer, span) for layer, span in statistics.units.spans() if unit < span.stop)
    values = column.maps[layer.name][image, unit - span.start].float().cpu().numpy()
    low = float(statistics.mean[unit])
    # The mean of its peaks rather than the highest value of all: a search seldom reaches the latter.
    return overlay(column.pixels[image], values, low, float(max(statistics.peak[unit], low + 1e-6)), TILE)


def _whole(edited: EditedMaps) -> dict[str, torch.Tensor]:
    """Edited maps of some units as maps of all channels; others are NaN."""
    whole = {}
    for layer, span in edited.statistics.units.spans():
        if layer.name in edited.layers:
            units, asked = edited.layers[layer.name]
            maps = torch.full((len(asked.maps), layer.channels, *layer.grid), torch.nan)
            maps[:, torch.from_numpy(units - span.start)] = torch.where(asked.known > 0.5, asked.maps, torch.nan)
            whole[layer.name] = maps
    return whole


def _space(store: GuidedStore) -> SpaceName:
    dimensions: Any = store.group["latent"].metadata.dimension_names  # type: ignore[union-attr]
    return "z" if "z" in dimensions else "w+" if "style" in dimensions else "w"

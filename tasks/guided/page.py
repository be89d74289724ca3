"""Stage `page`: an inversion or an edit as a page beside the dictionary."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from rosetta.guidance.activation import Maps
from rosetta.guidance.latent import SpaceName, space_of
from rosetta.guidance.matches import Statistics
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
from tasks.guided.classes import told
from tasks.guided.edit import Wish, asked_of_generator
from tasks.guided.inputs import Subjects
from tasks.guided.matches import Steering, loaded, read_steering
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
    """What a page says of a search in words."""

    kind: Literal["inversion", "edit"]
    run: str
    lede: str
    settings: tuple[tuple[str, str], ...]


@stage("page {where}")
def write_page(
    root: Root,
    wanted: Fingerprint,
    where: str,
    story: Story,
    models: Sequence[str],
    clusters: Sequence[int] | None,
    wish: Wish | None,
    others: Mapping[str, Subjects],
    device: str,
) -> Outcome:
    """`index.html` and its pictures; the page last, so that it never shows what is not there."""
    page = f"{where}/index.html"
    if root.exists(page) and wanted.digest.encode() in root.read_bytes(page):
        return "skipped"
    break_seal(root, where)
    store = GuidedStore.read(root, where)
    metrics = read_table(root, where, "metrics", wanted)
    assert metrics is not None
    steering = read_steering(root)
    count = min(len(store.sources), SHOWN)
    sheets = _sheets(steering, store, models, clusters, wish, others, device, count)
    seen = slice(count)
    frames, targets, losses = store.found("frames", seen), store.targets(seen), store.found("loss", seen)
    titles, classes = store.sources[:count], store.classes(seen)
    if classes is not None:
        titles = [f"{title}, class {index}" for title, index in zip(titles, classes, strict=True)]
    images = []
    with track(f"page {where}", count) as advance:
        for image in range(count):
            name = f"{image:03d}"
            panels: list[tuple[str, Pixels, tuple[str, ...]]] = []
            films = []
            if targets is not None and story.kind == "inversion":
                panels.append(("target", targets[image], ()))
            elif targets is not None and (targets[image] != frames[0, image, 0]).any():
                panels.append(("given", targets[image], ()))
            panels.append(("before" if story.kind == "edit" else "start", frames[0, image, 0], ()))
            for kind, guidance in enumerate(store.guidance):
                caption = "after" if story.kind == "edit" else f"result, {guidance}"
                panels.append((caption, frames[kind, image, -1], numbers_of(metrics, story.kind, guidance, image)))
                strip = f"pictures/{name}-way-{kind}.webp"
                root.write_bytes(f"{where}/{strip}", webp(_tiles(frames[kind, image])[None]))
                films.append(Film(caption, strip, frames.shape[2], tuple(store.frame_steps)))
            shown = []
            for place, (caption, pixels, numbers) in enumerate(panels):
                file = f"pictures/{name}-{place}.webp"
                root.write_bytes(f"{where}/{file}", webp(pixels[None, None], quality=95))
                shown.append(Panel(caption, file, numbers))
            sheet = None
            if sheets is not None:
                file = f"pictures/{name}-maps.webp"
                root.write_bytes(f"{where}/{file}", webp(sheets.tiles[image]))
                sheet = MapSheet(sheets.columns, sheets.rows, file)
            trace = loss_traces(
                {
                    term: {label: losses[kind, image, :, place] for kind, label in enumerate(store.guidance)}
                    for place, term in enumerate(store.terms)
                }
            )
            images.append(GuidedImage(titles[image], tuple(shown), tuple(films), sheet, trace))
            advance(1)
    content = GuidedPage(
        kind=story.kind,
        name=where.rpartition("/")[2],
        run=story.run,
        lede=story.lede,
        summary=summary_table(metrics, story.kind, len(store.sources), count),
        images=tuple(images),
        settings=story.settings,
        fingerprint=wanted.digest,
        command=f"rosetta {'edit' if story.kind == 'edit' else 'invert'} {root.shown}",
        home="../../report/index.html",
    )
    root.write_bytes(page, render_guided(content).encode())
    return "done"


def _tiles(pixels: Pixels) -> Pixels:
    """(frame, TILE, TILE, rgb)."""
    return np.stack([overlay(frame, np.zeros((1, 1)), 0.0, 1.0, TILE) for frame in pixels])


@dataclass(frozen=True)
class _Sheets:
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    tiles: list[Pixels]
    """For each image (row, column, TILE, TILE, rgb)."""


def _sheets(
    steering: Steering,
    store: GuidedStore,
    models: Sequence[str],
    clusters: Sequence[int] | None,
    wish: Wish | None,
    others: Mapping[str, Subjects],
    device: str,
    count: int,
) -> _Sheets | None:
    """Maps of some concepts' best neurons before and after: G's own, and those of the models that judge or guide."""
    generator = steering.generator.name
    known = sorted(steering.matches.clusters)
    concepts = list(clusters or known[:CONCEPTS])[:8]
    if not concepts:
        return None
    best = {
        cluster: steering.rosetta[steering.rosetta["cluster"] == cluster].sort_values("rosetta", kind="stable")
        for cluster in concepts
    }
    units = {
        name: [int(rows[rows["model"] == name]["unit"].iloc[0]) for rows in best.values()]
        for name in (generator, *models)
    }
    classes = store.classes(slice(count))
    space = space_of(loaded(steering.generator, device), _space(store), told(classes))
    last = len(store.guidance) - 1
    start, end = (torch.from_numpy(store.found(name, slice(count))[last]) for name in ("start", "latent"))
    with torch.no_grad():
        of_g = [space.render(latents.to(space.model.device)) for latents in (start, end)]
    frames, targets = store.found("frames", slice(count))[last], store.targets(slice(count))
    columns: list[tuple[str, str, Maps, Pixels]] = []
    early = "before" if wish is not None else "start"
    late = "after" if wish is not None else "result"
    columns.append((f"{generator} {early}", generator, of_g[0].maps, frames[:, 0]))
    if wish is not None:
        asked = asked_of_generator(steering, start, classes, wish.edits, others, wish, device)
        columns.append((f"{generator} asked", generator, _whole(asked.statistics, asked.layers), frames[:, 0]))
    columns.append((f"{generator} {late}", generator, of_g[1].maps, frames[:, -1]))
    for name in models:
        seen = loaded(steering.spec(name), device)
        shows = [(early, frames[:, 0]), (late, frames[:, -1])] if wish is not None else []
        if wish is None:
            shows = [("target", targets)] if targets is not None else []
            shows.append((late, frames[:, -1]))
        for caption, pixels in shows:
            columns.append((f"{name} {caption}", name, seen.observe(from_pixels(pixels, seen.device)), pixels))
    tiles = [
        np.stack(
            [
                np.stack(
                    [
                        _tile(steering, maps, name, units[name][row], image, pixels[image])
                        for _, name, maps, pixels in columns
                    ]
                )
                for row in range(len(concepts))
            ]
        )
        for image in range(count)
    ]
    rows = tuple(
        f"concept {cluster} · {frame['layer'].iloc[0]}:{frame['channel'].iloc[0]}" for cluster, frame in best.items()
    )
    return _Sheets(tuple(caption for caption, *_ in columns), rows, tiles)


def _tile(steering: Steering, maps: Maps, model: str, unit: int, image: int, pixels: Pixels) -> Pixels:
    statistics = _statistics(steering, model)
    layer, span = next((held, held_by) for held, held_by in statistics.units.spans() if unit < held_by.stop)
    values = maps[layer.name][image, unit - span.start].float().cpu().numpy()
    low = float(statistics.mean[unit])
    # The mean of its peaks rather than the highest value of all: a search seldom reaches the latter.
    return overlay(pixels, values, low, float(max(statistics.peak[unit], low + 1e-6)), TILE)


def _statistics(steering: Steering, model: str) -> Statistics:
    return steering.matches.generator if model == steering.generator.name else steering.matches.others[model]


def _whole(statistics: Statistics, layers: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Edited maps of some units as maps of all channels; others are NaN."""
    whole = {}
    for layer, span in statistics.units.spans():
        if layer.name in layers:
            units, asked = layers[layer.name]
            maps = torch.full((len(asked.maps), layer.channels, *layer.grid), torch.nan)
            maps[:, torch.from_numpy(units - span.start)] = torch.where(asked.known > 0.5, asked.maps, torch.nan)
            whole[layer.name] = maps
    return whole


def _space(store: GuidedStore) -> SpaceName:
    dimensions: Any = store.group["latent"].metadata.dimension_names  # type: ignore[union-attr]
    return "z" if "z" in dimensions else "w+" if "style" in dimensions else "w"

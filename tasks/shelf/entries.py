"""What a shelf says of what lies below a folder, read from tables and records; nothing is written there."""

import shlex
import tomllib
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from rosetta.errors import UserError
from rosetta.mining.trust.null_dictionary import NEURONS
from rosetta.naming.notes import Note
from rosetta.view.atlas.sheets import ACROSS
from rosetta.view.numbers import counted, percent
from rosetta.view.shelf.contents import ShelfConcept, ShelfEntry, ShelfModel, Strip
from storage.artifacts import notes, tables
from storage.artifacts.catalogue import (
    COMPARISON_CONCEPTS,
    COMPARISON_OVERLAPS,
    COMPARISON_RECORD,
    JOIN_CONCEPTS,
    JOIN_PAIRS,
    JOIN_RECORD,
    REPORT,
    STUDY,
    STUDY_RECORD,
    Instance,
)
from storage.artifacts.provenance import finished_on
from storage.filesystem.root import Root
from storage.run.data import RunData
from storage.upkeep.status import artifacts
from tasks.roots import RECORDS
from tasks.shelf.find import Found

PAGE = Instance(REPORT).index
_DAMAGE = (ValueError, KeyError, TypeError, OSError)
"""What reading a root raises where a file in it is not what it should be; parse errors are ValueErrors."""


def read_entry(found: Found, base: str) -> ShelfEntry:
    """What the shelf says of a root, whatever state it is in.

    Parameters
    ----------
    base
        Path from the shelf to where the root's pages lie.
    """
    shown = found.path or "."
    try:
        return {"run": _run, "join": _join, "comparison": _comparison, "study": _study}[found.kind](found, base)
    except UserError as error:
        # Its texts name the root by where it lies on this machine, which readers of a shelf need not know.
        problem = str(error).partition("; ")[0].replace(found.root.shown, shown)
        return _unfinished(found, problem, _again(found))
    except _DAMAGE:
        return _unfinished(found, "a file of it is missing or damaged", f"rosetta check {_word(shown)}")


def _run(found: Found, base: str) -> ShelfEntry:
    run = RunData.open(found.root.url)
    state = next(one.state for one in artifacts(found.root) if one.artifact == PAGE)
    has_page = found.root.exists(PAGE)
    facts = [counted(run.seen, "image", "images"), counted(len(run.neurons), "Rosetta neuron", "Rosetta neurons")]
    if run.judged:
        facts.append(f"{run.trusted:,} trusted")
    facts.append(counted(len(run.clusters), "concept", "concepts"))
    rate = next((one.fdr for one in run.null_counts if one.of == NEURONS), None)
    if rate is not None:
        facts.append(f"false discovery rate {percent(rate)}")
    problem = "" if state == "complete" else "its page is missing" if not has_page else f"its page is {state}"
    sheet, tiles = "report/cards/0.webp", min(len(run.clusters), ACROSS)
    strip = None
    if tiles and found.root.exists(sheet):
        alt = f"Concepts of {run.name}, each on one image under its map"
        strip = Strip(_address(base, sheet), alt, tiles)
    return ShelfEntry(
        "run",
        run.name,
        found.path,
        tuple(facts),
        finished_on(found.root),
        _address(base, PAGE) if has_page else "",
        problem,
        f"rosetta report {_word(found.path or '.')}" if problem else "",
        strip,
        tuple(ShelfModel(name, run.spec(name).model, tuple(run.layers(name))) for name in run.models),
        tuple(_concepts(run)),
    )


def _concepts(run: RunData) -> list[ShelfConcept]:
    """Every concept with its names. Names of an earlier dictionary are left out, as the atlas does."""
    said: list[Note] = []
    with suppress(UserError):
        said = notes.stored_notes(run.root)
    labels: dict[int, list[str]] = {}
    with suppress(UserError):
        named = run.labels
        for concept, label in named.loc[named["named"], ["cluster", "label"]].itertuples(index=False):
            labels.setdefault(int(concept), []).append(str(label))
    names: dict[int, list[str]] = {}
    texts: dict[int, list[str]] = {}
    for note in said:
        names.setdefault(note.concept, []).extend([note.name] if note.name else [])
        texts.setdefault(note.concept, []).extend([note.text] if note.text else [])
    rows = zip(run.clusters["cluster"], run.clusters["size"], run.trusted_by_concept, strict=True)
    return [
        ShelfConcept(
            int(concept),
            ", ".join(dict.fromkeys(names.get(int(concept), []))),
            tuple(dict.fromkeys(labels.get(int(concept), []))),
            " ".join(texts.get(int(concept), [])),
            int(size),
            int(trusted),
        )
        for concept, size, trusted in rows
    ]


def _join(found: Found, base: str) -> ShelfEntry:
    record = _toml(found.root, JOIN_RECORD.path())
    generators = tuple(ShelfModel(str(one["name"]), f"of {one['run']}") for one in record["generators"])
    pivots = tuple(ShelfModel(str(one["name"]), "control" if one["control"] else "pivot") for one in record["pivots"])
    name = " and ".join(one.name for one in generators)
    if not found.root.exists(PAGE):
        return _unfinished(found, "it is not finished", _again(found), name, (*generators, *pivots))
    pairs, concepts = (tables.read(found.root, table.path()) for table in (JOIN_PAIRS, JOIN_CONCEPTS))
    facts = (
        " and ".join(f"{one['images']:,}" for one in record["generators"]) + " images",
        counted(len(pairs), "pair", "pairs"),
        f"{int(pairs['trusted'].sum()):,} trusted",
        counted(len(concepts), "concept", "concepts"),
    )
    picture = next((path for path in found.root.find("report/pictures") if path.endswith(".webp")), None)
    strip = Strip(_address(base, picture), f"A concept of {name}, on images of one of them") if picture else None
    return ShelfEntry(
        "join", name, found.path, facts, finished_on(found.root), _address(base, PAGE), strip=strip,
        models=(*generators, *pivots),
    )  # fmt: skip


def _comparison(found: Found, base: str) -> ShelfEntry:
    record = _toml(found.root, COMPARISON_RECORD.path())
    name = " and ".join(str(one["name"]) for one in record["runs"])
    models = tuple(
        ShelfModel(str(one["name"]), "anchor" if one["anchor"] else "in both runs", tuple(map(str, one["layers"])))
        for one in record["models"]
    )
    if not found.root.exists(PAGE):
        return _unfinished(found, "it is not finished", _again(found), name, models)
    overlaps, concepts = (tables.read(found.root, table.path()) for table in (COMPARISON_OVERLAPS, COMPARISON_CONCEPTS))
    whole = overlaps[(overlaps["of"] == "all") & (overlaps["by"] == "anchor") & (overlaps["layer"] == "all")].iloc[0]
    mine = concepts[concepts["cluster_first"] >= 0]
    facts = (
        f"{whole['both']:,} of {counted(int(whole['first']), 'Rosetta neuron stays', 'Rosetta neurons stay')}",
        f"{int((mine['cluster_second'] >= 0).sum()):,} of {counted(len(mine), 'concept', 'concepts')} with a partner",
    )
    picture = next((path for path in found.root.find("report/pictures") if path.endswith(".webp")), None)
    strip = Strip(_address(base, picture), f"A concept of {name}, on images of one of them") if picture else None
    return ShelfEntry(
        "comparison", name, found.path, facts, finished_on(found.root), _address(base, PAGE), strip=strip,
        models=models,
    )  # fmt: skip


def _study(found: Found, base: str) -> ShelfEntry:
    recipe = _toml(found.root, STUDY_RECORD.path())
    name = str(recipe["name"])
    models = tuple(ShelfModel(str(one["name"]), str(one["model"])) for one in recipe["models"])
    if not found.root.exists(PAGE):
        return _unfinished(found, "it is not finished", _again(found), name, models)
    rows = tables.read(found.root, STUDY.path())
    facts = (
        counted(int(recipe["images"]["count"]), "image", "images"),
        counted(rows["model"].nunique(), "model", "models"),
        counted(rows["family"].nunique(), "family", "families"),
    )
    plot = next((path for path in found.root.find("report/plots") if path.endswith("-counts.svg")), None)
    strip = Strip(_address(base, plot), f"Counts of {name} over the size of the models") if plot else None
    return ShelfEntry(
        "study", name, found.path, facts, finished_on(found.root), _address(base, PAGE), strip=strip,
        models=models,
    )  # fmt: skip


def _unfinished(
    found: Found, problem: str, command: str, name: str = "", models: tuple[ShelfModel, ...] = ()
) -> ShelfEntry:
    called = name or _called(found)
    return ShelfEntry(found.kind, called, found.path, problem=problem, command=command, models=models)


def _called(found: Found) -> str:
    """What the recipe of a root calls it, else the name of its folder."""
    try:
        return str(_toml(found.root, RECORDS[found.kind].path())["name"])
    except _DAMAGE:
        return found.path.rpartition("/")[2] or found.kind


def _again(found: Found) -> str:
    """The command that finishes a root, with paths below the folder of the shelf."""
    path = found.path or "."
    if found.kind == "run":
        return f"rosetta mine {_word(f'{path}/recipe.toml')} --root {_word(path)}"
    if found.kind == "study":
        return f"rosetta study {_word(f'{path}/{STUDY_RECORD.path()}')}"
    command = {"join": "join", "comparison": "compare"}[found.kind]
    return f"rosetta {command} RUN RUN --root {_word(path)}"


def _word(path: str) -> str:
    return shlex.quote(f"./{path}" if path.startswith("-") else path)


def _toml(root: Root, path: str) -> dict[str, Any]:
    return tomllib.loads(root.read_bytes(path).decode("utf-8"))


def _address(base: str, path: str) -> str:
    return quote(f"{base}/{path}", safe="/")

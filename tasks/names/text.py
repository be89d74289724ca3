"""Names from text: `tables/labels.parquet` and `words.zarr`."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import sha256
from typing import Any

import numpy as np
import pandas as pd

from rosetta.errors import UserError
from rosetta.naming.names import DRAWS, Scores, best_words, score
from rosetta.naming.settings import Labelling
from rosetta.naming.vocabulary import PROMPTS, parse, shipped
from rosetta.zoo.device import resolve_device
from rosetta.zoo.image_text import Float32, ImageText, load_image_text
from storage.artifacts import tables
from storage.artifacts.catalogue import LABELS, WORDS
from storage.artifacts.dictionary import dictionary_of
from storage.artifacts.fingerprint import Fingerprint, fingerprint
from storage.artifacts.words import WordStore
from storage.run.data import RunData
from tasks.names.asked_file import content_of
from tasks.names.subjects import KEYS, concepts, open_with_concepts, units
from tasks.names.text_views import images_of, views_of
from tasks.stage.progress import track

TOP = 5
"""Words that are kept of a concept or unit."""
_SHOWN = 40
"""Characters of a word that a message shows."""

artifacts = (WORDS, LABELS)
"""What is written."""


@dataclass(frozen=True)
class TextPlan:
    """Names of a run from text, with all that they need."""

    run: RunData
    settings: Labelling
    model: ImageText
    words: tuple[str, ...]

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """What the names depend on."""
        return fingerprint(
            "labels",
            dictionary=dictionary_of(self.run.root),
            model=self.model.name,
            weights_sha256=self.model.weights_sha256,
            words_sha256=sha256("\n".join(self.words).encode()).hexdigest(),
            prompts=list(PROMPTS),
            images=images_of(self.run),
            units=self.settings.units,
        )


def plan_text(root: str, settings: Labelling) -> TextPlan:
    """Check all that names from text need; nothing is written.

    Raises
    ------
    UserError
        There is no such run, model or vocabulary, the run has no concepts, or the tokenizer cuts a word off.
    """
    assert settings.text is not None
    run = open_with_concepts(root)
    images_of(run)
    words = (
        shipped()
        if settings.words is None
        else parse(content_of(settings.words, "--words", "a text file"), f"--words {settings.words}")
    )
    model = _loaded(settings.text, settings.weights, resolve_device(run.recipe.compute.device))
    _require_whole(model, words)
    return TextPlan(run, settings, model, words)


def write_labels(plan: TextPlan) -> None:
    """Name the concepts of a run, and the units of its Rosetta neurons where that is asked for."""
    run = plan.run
    about = {"model": plan.model.name, "weights_sha256": plan.model.weights_sha256, "prompts": list(PROMPTS)}
    text = _known(plan, about)
    if text is None:
        text = embedded(plan.model, plan.words, plan.settings.batch)
    subjects = concepts(run)
    found = _scored(plan, subjects, text)
    frames = [_rows("concept", run, subjects, found, plan.words)]
    if plan.settings.units:
        all_units = units(run)
        frames.append(_rows("unit", run, all_units, _scored(plan, all_units, text), plan.words))
    clusters = subjects["cluster"].to_numpy()
    WordStore.write(run.root, plan.fingerprint, clusters, plan.words, found.score, found.null, text, about)
    categories = tables.categories_of({model: store.units for model, store in run.stores.items()})
    tables.write(run.root, LABELS.path(), pd.concat(frames, ignore_index=True), plan.fingerprint, categories)


def summary(run: RunData) -> dict[str, Any]:
    """What there is to tell of the names: how many concepts and units have one, and the concepts' best."""
    rows = tables.read(run.root, LABELS.path())
    best = rows[rows["rank"] == 1]
    of_concepts = best[best["subject"] == "concept"]
    named = of_concepts[of_concepts["named"]].sort_values("cluster")
    of_units = best[best["subject"] == "unit"]
    return {
        "table": LABELS.path(),
        "concepts": len(of_concepts),
        "named": len(named),
        **({"units": len(of_units), "named_units": int(of_units["named"].sum())} if len(of_units) else {}),
        "names": named[["cluster", "label", "score", "score_null"]].to_dict("records"),
    }


def embedded(model: ImageText, words: Sequence[str], batch: int) -> Float32:
    """(word, embedding) the mean over the prompts, of length 1."""
    parts = []
    with track("embed words", len(words)) as advance:
        for first in range(0, len(words), batch):
            part = words[first : first + batch]
            of_prompts = [model.texts([prompt.format(word) for word in part]) for prompt in PROMPTS]
            mean = np.mean(np.stack(of_prompts), axis=0, dtype=np.float64)
            parts.append(mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12))
            advance(len(part))
    return np.concatenate(parts).astype(np.float32)


def _known(plan: TextPlan, about: dict[str, Any]) -> Float32 | None:
    """The embeddings of earlier names of the run, if they are of the same words by the same model."""
    try:
        store = WordStore.read(plan.run.root)
        same = all(store.attributes.get(name) == value for name, value in about.items())
        return store.text if same and store.words == list(plan.words) else None
    except (OSError, ValueError, KeyError, TypeError):  # none, or a damaged one, which is replaced
        return None


def _scored(plan: TextPlan, subjects: pd.DataFrame, text: Float32) -> Scores:
    views = views_of(plan.run, subjects, plan.model, plan.settings.batch)
    with track("compare with chance", DRAWS) as advance:
        return score(views, text, plan.run.recipe.images.seed, advance)


def _rows(subject: str, run: RunData, subjects: pd.DataFrame, found: Scores, words: Sequence[str]) -> pd.DataFrame:
    all_scores = found.score
    order = best_words(all_scores, min(TOP, len(words)))
    count = order.shape[1]

    def of(values: Float32) -> "np.ndarray[Any, np.dtype[np.float64]]":
        return np.take_along_axis(values, order, axis=1).ravel().astype(np.float64)

    null = np.repeat(found.null, count)
    scores = of(all_scores)
    rows = subjects.loc[np.repeat(np.arange(len(subjects)), count), KEYS].reset_index(drop=True)
    frame = rows.assign(
        subject=subject,
        kind="text",
        rank=np.tile(np.arange(1, count + 1, dtype=np.int32), len(subjects)),
        label=np.array(words, dtype=object)[order.ravel()],
        score=scores,
        score_whole=of(found.whole),
        score_masked=of(found.masked),
        score_null=null,
        named=scores > null,
        images=np.int32(images_of(run)),
    )
    types = {"cluster": np.int32, "unit": np.int32, "channel": np.int32, "images": np.int32, "label": "str"}
    return frame[[column.name for column in LABELS.columns]].astype(types)


def _require_whole(model: ImageText, words: Sequence[str]) -> None:
    """
    Raises
    ------
    UserError
        The tokenizer cuts off a word, in the longest of its prompts.
    """
    prompt, context = max(PROMPTS, key=len), model.context
    tokens = model.tokens([prompt.format(word) for word in words])
    if len(cut := np.flatnonzero(tokens > context)):
        word = words[cut[0]]
        shown = word if len(word) <= _SHOWN else f"{word[:_SHOWN]}…"
        more = f" and {len(cut) - 1:,} more words" if len(cut) > 1 else ""
        raise UserError(
            f"{model.name} cuts off {shown!r}{more}: in {prompt.format('…')!r} it has {tokens[cut[0]]} tokens or more, "
            f"and {context} fit; shorten it or leave it out"
        )


@lru_cache(maxsize=1)
def _loaded(model: str, weights: str, device: str) -> ImageText:
    """A model that is loaded once: a command checks first, and then runs its flow."""
    return load_image_text(model, weights, device)

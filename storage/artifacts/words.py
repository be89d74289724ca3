"""`words.zarr`: how well each word of a vocabulary fits each concept."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from storage.artifacts import layout
from storage.artifacts.catalogue import WORDS
from storage.artifacts.fingerprint import Fingerprint
from storage.artifacts.store import ArtifactStore
from storage.filesystem.root import Root

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class WordStore(ArtifactStore):
    """What a page needs to find concepts by free text, without the model that saw them.

    `score` (concept, word) says how well a word fits a concept, on the scale of `tables/labels.parquet`; `null`
    (concept) what the best word reaches by chance. `word` and `cluster` label both. Whoever types a word of the
    vocabulary sorts the concepts by its column, those above their null first. For a word that the vocabulary lacks
    there is `text` (word, embedding), of length 1: the same model embeds the new word, and the nearest known words
    stand in. A page that is to stay small takes `score` alone, rounded: 85 concepts and 3,000 words are 255,000 values.
    """

    artifact = WORDS

    @classmethod
    def write(
        cls,
        root: Root,
        fingerprint: Fingerprint,
        clusters: npt.NDArray[np.integer],
        words: Sequence[str],
        score: Float32,
        null: npt.NDArray[np.float64],
        text: Float32,
        attributes: dict[str, Any],
    ) -> None:
        """Write the whole store; it replaces one that may be there.

        Parameters
        ----------
        attributes
            Which model, weights and prompts the embeddings are of.
        """
        group = layout.create_store(root, WORDS.path())
        layout.create_labels(group, "cluster", np.asarray(clusters, np.int32), "concept", "number of the concept")
        layout.create_labels(group, "word", list(words), "word", "word of the vocabulary")
        layout.create_array(
            group,
            "score",
            "float32",
            {"concept": len(clusters), "word": len(words)},
            "score of the word",
            description="soft WPMI of the word for the concept",
            coordinates="cluster",
        )
        layout.create_values(group, "null", np.asarray(null, np.float64), ("concept",), "score of the best by chance")
        layout.create_values(group, "text", text, ("word", "embedding"), "embedding of the word")
        layout.create_written(group, block=1)
        layout.seal_layout(group, fingerprint, attributes)
        store = cls(group)
        if len(clusters):
            store._array("score")[:] = score
        store.mark(0)
        store.finish()

    @property
    def words(self) -> list[str]:
        """(word,) the vocabulary."""
        return [str(word) for word in np.asarray(self._array("word")[:])]

    @property
    def clusters(self) -> npt.NDArray[np.int32]:
        """(concept,) numbers of the concepts."""
        return np.asarray(self._array("cluster")[:], np.int32)

    @property
    def text(self) -> Float32:
        """(word, embedding) of length 1."""
        return np.asarray(self._array("text")[:], np.float32)

    @property
    def score(self) -> Float32:
        """(concept, word)"""
        return np.asarray(self._array("score")[:], np.float32)

    @property
    def null(self) -> npt.NDArray[np.float64]:
        """(concept,) what the best word reaches by chance."""
        return np.asarray(self._array("null")[:], np.float64)

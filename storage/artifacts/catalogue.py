"""The list of everything that lies under a run's root: each artifact declared once, as data.

Whatever walks over a run reads this list: planning and resuming, status, check, mend, prune, seals, sharing, and the
table in `docs/architecture.md`. A new artifact is a row here, and the stage that writes it.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

from storage.artifacts import columns, columns_of_comparisons, columns_of_studies
from storage.artifacts.artifact import (
    ABLATE,
    COMPARE,
    JOIN,
    SILENCE,
    STUDYING,
    Artifact,
    of_blocks,
    of_features,
    of_joined,
    of_layers,
    of_maps,
    of_pairs,
    regex,
)
from storage.artifacts.columns import Columns
from storage.filesystem.lock import RUN
from storage.filesystem.root import Root

CATALOGUE: list[Artifact] = []
"""Every artifact, in the order in which a run makes them."""


def declare(artifact: Artifact) -> Artifact:
    """Add an artifact to the catalogue."""
    CATALOGUE.append(artifact)
    return artifact


@dataclass(frozen=True)
class Instance:
    """One artifact of a run: of a model, say."""

    artifact: Artifact
    names: tuple[str, ...] = ()
    """As :meth:`Artifact.path` takes them."""

    @property
    def path(self) -> str:
        """Where it lies under the root."""
        return self.artifact.path(*self.names)

    @property
    def index(self) -> str:
        """The file without which nothing of it can be read."""
        names = {"store": "zarr.json", "folder": self.artifact.index}
        return f"{self.path}/{names[self.artifact.kind]}" if self.artifact.kind in names else self.path

    @property
    def inner(self) -> list["Instance"]:
        """Of a folder: the artifacts that lie in it."""
        within = f"{self.artifact.pattern}/"
        return [Instance(artifact, self.names) for artifact in CATALOGUE if artifact.pattern.startswith(within)]


def instance_at(path: str) -> Instance | None:
    """What lies at a path under a root; None where the catalogue has nothing there."""
    for artifact in CATALOGUE:
        if (names := artifact.names(path)) is not None:
            return Instance(artifact, names)
    return None


def instances(root: Root, which: Callable[[Artifact], bool] = lambda _: True) -> list[Instance]:
    """All that lies under a root, finished or not, in the order of the catalogue.

    Parameters
    ----------
    which
        Which artifacts to look for.
    """
    listing = cache(root.entries)  # several artifacts share a folder

    def paths(artifact: Artifact, folder: str, parts: list[str]) -> Iterator[str]:
        while len(parts) > 1 and "{" not in parts[0]:
            folder, parts = f"{folder}{parts[0]}/", parts[1:]
        for name, is_folder in listing(folder.rstrip("/")).items():
            needs_folder = len(parts) > 1 or artifact.kind in ("store", "folder")
            if is_folder == needs_folder and re.fullmatch(regex(parts[0]), name):
                path = f"{folder}{name}"
                yield from paths(artifact, f"{path}/", parts[1:]) if parts[1:] else [path]

    rows = [artifact for artifact in CATALOGUE if which(artifact)]
    found = [(row, row.names(path)) for row in rows for path in paths(row, "", row.pattern.split("/"))]
    return [Instance(row, names) for row, names in found if names is not None]


def tables_of_run() -> list[Artifact]:
    """The tables that there is one of in every finished run."""
    return [one for one in CATALOGUE if one.kind == "table" and one.per == "run" and one.expected]


def tables_after_mining() -> list[Artifact]:
    """The tables of a run that commands add once it is mined, one of each."""
    return [one for one in CATALOGUE if one.kind == "table" and one.per == "run" and not one.expected]


def all_tables() -> list[Artifact]:
    """Every kind of table, those in folders last."""
    of_folders = [one for folder in CATALOGUE for one in folder.tables]
    return [*(one for one in CATALOGUE if one.kind == "table"), *of_folders]


def columns_at(path: str) -> Columns:
    """What the columns of the table at a path are.

    Raises
    ------
    ValueError
        The catalogue describes no such table.
    """
    for table in all_tables():
        if table.columns and table.names(path) is not None:
            return columns.of_each_test(table.columns)
    raise ValueError(f"{path}: the catalogue does not describe the columns of such a table")


AGREED, WORKERS, SEALS, STREAM = "agreed.json", "workers.json", "seals", "stream"
UPGRADE, USERS, WEIGHTS = "upgrade", "users", "weights"
BESIDE = {
    RUN: "which process is at work on the run",
    AGREED: "what was compared with the stores before; saves time, and may be removed",
    WORKERS: "what each worker of the stage under way does; gone once the stage is",
    f"{SEALS}/": "checksums of finished artifacts",
    f"{STREAM}/": "sums over images that are not kept, as far as they are; gone once they are correlated",
    f"{UPGRADE}/": "the store that `rosetta upgrade` is rewriting; gone once it is done",
    f"{USERS}/": "the runs that share stores of this root",
    f"{WEIGHTS}/": "by SHA-256, weights for workers that do not see them where the recipe says",
}
"""What lies under a root beside the artifacts, and what it holds."""
RESULT = "result.zarr"
"""The store of a search, in its folder."""

# fmt: off
RECIPE = declare(Artifact(
    "recipe.toml", "file", "run", "the recipe as run, defaults filled in", kept=True,
))
SHARED = declare(Artifact(
    "shared.json", "file", "run", "the locations of shared stores", expected=False, kept=True,
))
IMAGES = declare(Artifact(
    "images.zarr", "store", "run",
    "`pixels` uint8 (image, y, x, rgb), `source`, `half`; of files `sha256`, `label`, `crop`, `composited`; of a"
    " generator `latent`, `class`, `prompt`",
    shareable=True, marker=of_blocks("pixels", "source", "stamp", "sha256", "crop", "composited"),
))
ACTIVATIONS = declare(Artifact(
    "activations/{model}.zarr", "store", "model",
    "a group per layer: `activation` (image, channel, y, x), `peak` (image, channel), `mean`, `std` (channel)",
    (IMAGES,), shareable=True, marker=of_maps,
))
FEATURES = declare(Artifact(
    "features.zarr", "store", "run", "`pixel_feature` (image, feature, y, x): colour, contrast, edges on a small grid",
    (IMAGES,), shareable=True, marker=of_features,
))
CORRELATIONS = declare(Artifact(
    "correlations/{a}~{b}.zarr", "store", "pair",
    "`pearson` float32 (unit_a, unit_b), and `pearson_half_1`, the same over the first half of the images; or with"
    ' `keep = "neighbours"` the nearest of each unit',
    (ACTIVATIONS,), marker=of_pairs("pearson", "pearson_half_1"),
))
BUDDIES = declare(Artifact(
    "tables/buddies.parquet", "table", "run", "every pair of mutual nearest neighbours", (CORRELATIONS,),
    columns=columns.BUDDIES,
))
PROFILES = declare(Artifact(
    "profiles/{model}.zarr", "store", "model", "a group per layer: per-unit statistics behind the trust tests",
    (ACTIVATIONS, FEATURES), shareable=True, marker=of_layers,
))
TRUST_OF_PAIR = declare(Artifact(
    "tables/trust/{a}~{b}.parquet", "table", "pair",
    "what chance, halves, position and pixels leave of the buddies of a pair",
    (BUDDIES, CORRELATIONS, PROFILES, FEATURES), columns=columns.TRUST_OF_PAIR,
))
EXCESS = declare(Artifact(
    "tables/excess/{a}~{b}.parquet", "table", "distinct pair",
    "how much better each unit of a layer matches than units of the layer rotated at random", (CORRELATIONS, PROFILES),
    measured="rotation", added=True, columns=columns.EXCESS,
))
EXAMINED = declare(Artifact(
    "tables/examined/{a}~{b}.parquet", "table", "pair",
    "intervals, influence, few positions and classes: what the maps of a pair's buddies say of each",
    (BUDDIES, ACTIVATIONS), measured="maps", added=True, columns=columns.EXAMINED,
))
ASSIGNED = declare(Artifact(
    "tables/assigned/{a}~{b}.parquet", "table", "distinct pair", "the units of a pair that are matched one to one",
    (CORRELATIONS,), measured="one_to_one", added=True, columns=columns.ASSIGNED,
))
DISTANCES = declare(Artifact(
    "tables/distances.parquet", "table", "run", "how far models are from each other, and how much hubs take",
    (ASSIGNED, CORRELATIONS), measured="one_to_one", added=True, columns=columns.DISTANCES,
))
NULL = declare(Artifact(
    "tables/null.parquet", "table", "run", "what the dictionary counts when images are exchanged",
    (ACTIVATIONS, PROFILES, BUDDIES), measured="exchange", added=True, columns=columns.NULL,
))
LAYERS = declare(Artifact(
    "tables/layers.parquet", "table", "run", "how alike layers of two models are as wholes", (PROFILES,),
    measured="layers", added=True, columns=columns.LAYERS,
))
RAREFACTION = declare(Artifact(
    "tables/rarefaction.parquet", "table", "run", "buddies among equally many units of two models", (CORRELATIONS,),
    measured="rarefaction", added=True, columns=columns.RAREFACTION,
))
TRUST = declare(Artifact(
    "tables/trust.parquet", "table", "run",
    "all pairs together, with what controls reach and which matches are trusted",
    (TRUST_OF_PAIR, EXCESS, EXAMINED, ASSIGNED), columns=columns.TRUST,
))
STABILITY = declare(Artifact(
    "tables/stability.parquet", "table", "run", "the dictionary with other numbers of neighbours",
    (CORRELATIONS, TRUST), measured="stability", added=True, columns=columns.STABILITY,
))
UNITS = declare(Artifact(
    "tables/units.parquet", "table", "run", "every unit: layer, channel, grid, statistics", (ACTIVATIONS, PROFILES),
    columns=columns.UNITS,
))
ROSETTA = declare(Artifact(
    "tables/rosetta.parquet", "table", "run", "one row per Rosetta neuron and model", (BUDDIES, TRUST),
    columns=columns.ROSETTA,
))
CLUSTERS = declare(Artifact(
    "tables/clusters.parquet", "table", "run", "one row per concept of the dictionary", (BUDDIES, TRUST),
    columns=columns.CLUSTERS,
))
CLASSES_OF_UNITS = declare(Artifact(
    "tables/classes.parquet", "table", "run", "the classes of images that each unit is most selective for",
    (IMAGES, ACTIVATIONS), added=True, columns=columns.CLASSES_OF_UNITS,
))
CLASSES_OF_CONCEPTS = declare(Artifact(
    "tables/concept_classes.parquet", "table", "run", "the classes of images that each concept is most selective for",
    (IMAGES, ACTIVATIONS, ROSETTA), added=True, columns=columns.CLASSES_OF_CONCEPTS,
))
WORDS = declare(Artifact(
    "words.zarr", "store", "run",
    "how well each word of a vocabulary fits each concept: `score` (concept, word), `text` (word, embedding)",
    (IMAGES, ACTIVATIONS, ROSETTA), expected=False, command="rosetta label",
))
LABELS = declare(Artifact(
    "tables/labels.parquet", "table", "run", "the words that fit each concept best, and what chance makes of them",
    (IMAGES, ACTIVATIONS, ROSETTA), expected=False, columns=columns.LABELS, command="rosetta label",
))
MASKS = declare(Artifact(
    "tables/masks.parquet", "table", "run", "the labels of masks that each unit of a Rosetta neuron overlaps most",
    (IMAGES, ACTIVATIONS, ROSETTA), expected=False, columns=columns.MASKS, command="rosetta label",
))
NOTES = declare(Artifact(
    "tables/notes.parquet", "table", "run", "what people call concepts, which they star, and what they note",
    (ROSETTA,), expected=False, columns=columns.NOTES, command="rosetta notes",
))
REPORT = declare(Artifact(
    "report", "folder", "run", "the dictionary as a page that opens from disk, and the page on trust",
    (ROSETTA, CLUSTERS, UNITS, TRUST, NULL, STABILITY, LAYERS, DISTANCES, RAREFACTION, CLASSES_OF_UNITS,
     CLASSES_OF_CONCEPTS), index="index.html",
))
PROVENANCE = declare(Artifact(
    "provenance.json", "file", "run", "versions, digests of weights, devices, times, fingerprints", kept=True,
))
FIGURES = declare(Artifact(
    "figures/{name}", "file", "figure", "figures for print",
    (ROSETTA, CLUSTERS, UNITS, TRUST), expected=False, command="rosetta report",
))
_SEARCH = "the images, latents and losses of a search, in batches of images"
_BATCHES = of_pairs("frames", "result", "start", "latent", "loss")
INVERSION_RESULTS = declare(Artifact(
    f"inversions/{{name}}/{RESULT}", "store", "search", _SEARCH,
    (ROSETTA,), expected=False, marker=_BATCHES, command="rosetta invert",
))
INVERSION_METRICS = Artifact(
    "inversions/{name}/metrics.parquet", "table", "search",
    "how near each result of an inversion comes to its image", columns=columns.INVERSION_METRICS,
)
COEFFICIENTS = Artifact(
    "inversions/{name}/coefficients.parquet", "table", "search",
    "the trials that choose the coefficients of `rosetta invert --table`", columns=columns.COEFFICIENTS,
)
INVERSIONS = declare(Artifact(
    "inversions/{name}", "folder", "search", "metrics and the page of an inversion",
    (INVERSION_RESULTS,), expected=False, index="index.html", parts=("metrics.parquet",), command="rosetta invert",
    tables=(INVERSION_METRICS, COEFFICIENTS),
))
EDIT_RESULTS = declare(Artifact(
    f"edits/{{name}}/{RESULT}", "store", "search", _SEARCH,
    (ROSETTA,), expected=False, marker=_BATCHES, command="rosetta edit",
))
EDIT_METRICS = Artifact(
    "edits/{name}/metrics.parquet", "table", "search",
    "what each discriminative model sees of an edit", columns=columns.EDIT_METRICS,
)
EDIT_FORECAST = Artifact(
    "edits/{name}/forecast.parquet", "table", "search",
    "how near mined images come to what an edit asks for", columns=columns.EDIT_FORECAST,
)
EDITS = declare(Artifact(
    "edits/{name}", "folder", "search", "metrics and the page of an edit",
    (EDIT_RESULTS,), expected=False, index="index.html", parts=("metrics.parquet",), command="rosetta edit",
    tables=(EDIT_METRICS, EDIT_FORECAST),
))
ABLATIONS = declare(Artifact(
    "ablations.zarr", "store", "run",
    "in `models` a group each: `effect` and `change` (ablated, unit), how far each of its units follows units"
    " of the generator that are ablated or raised",
    (ROSETTA,), expected=False, marker=of_blocks("effect", "change"), command=ABLATE,
))
CAUSES = declare(Artifact(
    "tables/causes.parquet", "table", "run", "whether the buddies of Rosetta neurons follow when these are ablated",
    (ABLATIONS,), expected=False, columns=columns.CAUSES, command=ABLATE,
))
SILENCINGS = declare(Artifact(
    "silencings.zarr", "store", "run",
    "in `models` a group each: `moved` (concept, set, measure) and `shift` (concept, set, class), what it puts"
    " out when the units of a concept, or random ones, are silenced",
    (ROSETTA,), expected=False, marker=of_blocks("moved", "shift"), command=SILENCE,
))
SILENCED = declare(Artifact(
    "tables/silenced.parquet", "table", "run", "what discriminative models put out without the units of a concept",
    (SILENCINGS,), expected=False, columns=columns.SILENCED, command=SILENCE,
))
EXPLANATIONS = declare(Artifact(
    "explanations/{name}.zarr", "store", "figure",
    "where a classifier looks on images (Grad-CAM): `cam` (image, y, x), `class`, `probability`, `share`; and"
    " `pearson`, `weight` (image, concept)",
    (ACTIVATIONS, ROSETTA), expected=False,
    marker=of_blocks("cam", "class", "label", "score", "probability", "share", "random_share", "pearson", "weight"),
    command="rosetta explain",
))
JOIN_RECORD = declare(Artifact(
    "join.toml", "file", "run", "what a join is of: generators, pivots, settings",
    expected=False, kept=True, command=JOIN,
))
STRENGTHS = declare(Artifact(
    "strengths/{a}~{b}.zarr", "store", "distinct pair",
    "`strength` float32 (pivot, unit_a, unit_b): how alike units of two generators are through each pivot",
    (CORRELATIONS,), expected=False, marker=of_joined, command=JOIN,
))
JOIN_PAIRS = declare(Artifact(
    "tables/join_pairs.parquet", "table", "run", "every pair of mutual nearest neighbours of two generators",
    (STRENGTHS,), expected=False, columns=columns.JOIN_PAIRS, command=JOIN,
))
JOIN_LINKS = declare(Artifact(
    "tables/join_links.parquet", "table", "run", "the unit of each pivot through which a pair is linked",
    (STRENGTHS,), expected=False, columns=columns.JOIN_LINKS, command=JOIN,
))
JOIN_AGREEMENT = declare(Artifact(
    "tables/join_agreement.parquet", "table", "run", "how many pairs two pivots find, each by itself",
    (STRENGTHS,), expected=False, columns=columns.JOIN_AGREEMENT, command=JOIN,
))
JOIN_NULL = declare(Artifact(
    "tables/join_null.parquet", "table", "run", "what a join counts when units of the pivots are exchanged",
    (STRENGTHS,), expected=False, columns=columns.JOIN_NULL, command=JOIN,
))
JOIN_NEURONS = declare(Artifact(
    "tables/join_neurons.parquet", "table", "run", "one row per Rosetta neuron of a join and model", (JOIN_PAIRS,),
    expected=False, columns=columns.JOIN_NEURONS, command=JOIN,
))
JOIN_CONCEPTS = declare(Artifact(
    "tables/join_concepts.parquet", "table", "run", "one row per concept of a join", (JOIN_PAIRS,),
    expected=False, columns=columns.JOIN_CONCEPTS, command=JOIN,
))
JOIN_ITSELF = declare(Artifact(
    "tables/join_itself.parquet", "table", "run", "how many units of a generator find themselves over other images",
    (STRENGTHS,), expected=False, columns=columns.JOIN_ITSELF, command=f"{JOIN} --split",
))
COMPARISON_RECORD = declare(Artifact(
    "comparison.toml", "file", "run", "what a comparison is of: two runs, their differences, settings",
    expected=False, kept=True, command=COMPARE,
))
COMPARISON_OVERLAPS = declare(Artifact(
    "tables/comparison_overlaps.parquet", "table", "run", "how many Rosetta neurons of two runs are the same, by layer",
    (ROSETTA,), expected=False, columns=columns_of_comparisons.OVERLAPS, command=COMPARE,
))
COMPARISON_NEURONS = declare(Artifact(
    "tables/comparison_neurons.parquet", "table", "run",
    "one row per unit of the anchor that is a Rosetta neuron in one of two runs or in both", (ROSETTA,),
    expected=False, columns=columns_of_comparisons.NEURONS, command=COMPARE,
))
COMPARISON_CONCEPTS = declare(Artifact(
    "tables/comparison_concepts.parquet", "table", "run", "concepts of two runs, matched one to one", (ROSETTA,),
    expected=False, columns=columns_of_comparisons.CONCEPTS, command=COMPARE,
))
COMPARISON_STRENGTHS = declare(Artifact(
    "tables/comparison_strengths.parquet", "table", "run",
    "how the strengths correlate that two runs give to the same neurons and buddies", (ROSETTA, BUDDIES),
    expected=False, columns=columns_of_comparisons.STRENGTHS, command=COMPARE,
))
STUDY_RECORD = declare(Artifact(
    "study.toml", "file", "run", "the recipe of a study as carried out", expected=False, kept=True, command=STUDYING,
))
STUDY = declare(Artifact(
    "tables/study.parquet", "table", "run", "one row per model of a study: what it counts",
    expected=False, columns=columns_of_studies.STUDY, command=STUDYING,
))
DEPTHS = declare(Artifact(
    "tables/depths.parquet", "table", "run", "what each layer of the models of a study counts",
    expected=False, columns=columns_of_studies.DEPTHS, command=STUDYING,
))
EXPONENTS = declare(Artifact(
    "tables/exponents.parquet", "table", "run", "how fast counts grow with the size of the models of a family",
    expected=False, columns=columns_of_studies.EXPONENTS, command=STUDYING,
))
# fmt: on
OF_STUDIES = (STUDY, DEPTHS, EXPONENTS)
"""The tables of a study."""

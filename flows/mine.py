"""The flow `mine`: a recipe into activation stores, correlations, tables and the page.

Prefect takes the descriptions in its forms from docstrings in Google's style. So the flows use that style, unlike all
other modules.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from dataclasses import replace as replace_in
from pathlib import Path

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from flows.locking import holding
from flows.plan.checks import prepare, remove_what_differs
from flows.plan.gather import keep_agreed, with_images
from flows.plan.stages import STAGES, fingerprints
from flows.reporting.links import SUMMARY_HEAD, key_of, link, summary_row
from flows.running import is_linked, link_shared, nothing_to_do, run
from rosetta.mining.trust.null_dictionary import NullCount, null_counts
from rosetta.recipe import Recipe, parse_recipe, read_recipe
from rosetta.view.null_words import as_json, phrase
from rosetta.view.numbers import count, counted
from storage.artifacts import provenance, tables
from storage.artifacts.activations import ActivationStore
from storage.artifacts.catalogue import BUDDIES, CLUSTERS, NULL, ROSETTA, TRUST, tables_of_run
from storage.artifacts.neurons import neuron_rows
from storage.filesystem.root import Root
from storage.filesystem.s3 import retries
from storage.upkeep.sealing import seal_finished, unsealed
from tasks.dump.enlarged import say_enlarged
from tasks.plan import Plan
from tasks.report.page import PAGE
from tasks.stage.logs import about
from tasks.stage.stage import StageResult


@dataclass(frozen=True)
class Counts:
    """How much a run found."""

    units: dict[str, int]
    """By model."""
    buddies: dict[str, int]
    """By pair, `a~b`."""
    rosetta: int
    trusted: int | None
    """Rosetta neurons that are trusted (:mod:`storage.artifacts.neurons`); None where no match was judged."""
    clusters: int


@dataclass(frozen=True)
class Mined:
    """What a run left."""

    root: str
    stages: tuple[StageResult, ...]
    counts: Counts
    null: tuple[NullCount, ...] = ()
    """The counts beside what they are with images exchanged; empty where that was left out."""
    notes: tuple[str, ...] = ()
    """What a reader must know of how the matches were judged."""
    retries: int = 0
    """Requests to object stores that were made again."""

    @property
    def summary(self) -> str:
        """What was found, and what of it is trusted."""
        trusted = self.counts.trusted
        neurons = counted(self.counts.rosetta, "Rosetta neuron", "Rosetta neurons")
        concepts = counted(self.counts.clusters, "concept", "concepts")
        told = "none judged" if trusted is None else f"{count(trusted)} of the neurons trusted"
        return f"{neurons} in {concepts}, {told}"

    @property
    def chance(self) -> str:
        """How much of it chance would make; empty where that was left out."""
        return phrase(self.null)

    def as_dict(self) -> dict[str, object]:
        """For JSON, where what is not a number is null."""
        return {**asdict(self), "null": [as_json(null) for null in self.null]}


@flow(name="mine", flow_run_name="mine {recipe.name}", validate_parameters=True)
def mine(recipe: Recipe | Path, replace: bool = False, root: str | None = None, changes: tuple[str, ...] = ()) -> Mined:
    """Mine the dictionary of a recipe. Resumes a run that stopped.

    Args:
        recipe: A recipe, or the path of a recipe file on the machine of the run.
        replace: Rebuild what another recipe made under the same root. Otherwise the run fails.
        root: Where the artifacts go, any fsspec URL. Default: the root in the recipe.
        changes: Changes to the recipe, for example `images.count=64`, as in `rosetta mine --set`.

    Raises:
        UserError: The recipe cannot be mined. Nothing has been changed then.
    """
    plan = prepare(_recipe_of(recipe, root, changes), replace)
    plan.root.require_writable()
    with holding(plan.root), about(run=plan.recipe.name, root=plan.root.shown):
        if replace:
            remove_what_differs(plan)
        provenance.write_recipe(plan.root, plan.recipe)
        link_shared(plan)
        stages = run(plan, STAGES[:1])
        if plan.facts.files:
            # What they hold decides about all that follows. Of images that are mended a file may have changed, too.
            plan = with_images(plan)
            if replace:
                remove_what_differs(plan)
            link_shared(plan)
        say_enlarged(plan)
        stages += run(plan, STAGES[1:])
        keep_agreed(plan)
        provenance.write_provenance(
            plan.root,
            device=plan.facts.device,
            weights=plan.facts.weights,
            fingerprints=fingerprints(plan),
            stages=[stage.as_dict() for stage in stages],
            retries=retries.so_far(),
        )
        seal_finished(plan.root)
    mined = replace_in(_mined(plan, stages), retries=retries.take())
    _link(plan.root, plan.recipe.name, mined)
    return mined


def _recipe_of(recipe: Recipe | Path, root: str | None, changes: Sequence[str]) -> Recipe:
    """The recipe with its changes.

    A deployment names a recipe file, and its form has fields for what a user changes. Without a file, a recipe can be
    filled in or sent through the API.

    Raises
    ------
    UserError
        The file does not exist, or is not a valid recipe.
    """
    if isinstance(recipe, Recipe):
        return parse_recipe(recipe.to_toml(), recipe.name, root, changes) if root or changes else recipe
    return read_recipe(recipe, root, changes)


def finished(plan: Plan) -> Mined | None:
    """What a run left if there is nothing to do any more; found out without starting a flow."""
    if not plan.knows_images:
        return None
    keep_agreed(plan)
    stages = nothing_to_do(plan, STAGES)
    if stages is None or not is_linked(plan) or unsealed(plan.root):
        return None
    return _mined(plan, stages)


def _mined(plan: Plan, stages: Sequence[StageResult]) -> Mined:
    buddies = tables.read(plan.root, BUDDIES.path()).groupby(["model_a", "model_b"]).size()
    rosetta = tables.read(plan.root, ROSETTA.path())
    neurons = neuron_rows(rosetta, plan.anchor)
    judged = rosetta.empty or bool(rosetta["q_value"].notna().any())
    counts = Counts(
        {name: len(ActivationStore.read(plan.root, name).units) for name in plan.names},
        {f"{a}~{b}": int(buddies.get((a, b), 0)) for a, b in plan.pairs},
        len(neurons),
        int(neurons["trusted"].sum()) if judged else None,
        len(tables.read(plan.root, CLUSTERS.path())),
    )
    notes = tables.attributes(plan.root, TRUST.path()).get("notes", ())
    null = null_counts(tables.read(plan.root, NULL.path())) if plan.root.exists(NULL.path()) else ()
    return Mined(plan.root.shown, tuple(stages), counts, tuple(null), tuple(notes))


def _link(root: Root, name: str, mined: Mined) -> None:
    """Leave links and a summary where Prefect's page shows them."""
    key = key_of(name)
    link(root, PAGE, "the dictionary", f"{key}-report")
    for table in filter(lambda table: root.exists(table.path()), tables_of_run()):
        link(root, table.path(), table.name, key_of(name, table.name))
    rows = "\n".join(map(summary_row, mined.stages))
    create_markdown_artifact(
        f"**{'. '.join(filter(None, [mined.summary, mined.chance]))}**\n\n{SUMMARY_HEAD}\n{rows}\n",
        key=f"{key}-summary",
        description="what the run found, and how long each stage took",
    )

"""The flow `mine`: a recipe into activation stores, correlations, tables and the page."""

from dataclasses import dataclass
from dataclasses import replace as replace_in
from pathlib import Path

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from flows.locking import holding
from flows.plan.checks import prepare
from flows.plan.gather import with_images
from flows.plan.plan import Survey
from flows.plan.recipe_argument import recipe_of
from flows.reporting.links import key_of, link
from flows.reporting.summary import SUMMARY_HEAD, summary_row
from flows.stages import are_linked, cluster_of, dictionary_stages, judging_stages, share_stores
from rosetta.recipe import Recipe
from rosetta.view.numbers import count, counted
from storage.artifacts import provenance, tables
from storage.artifacts.activations import ActivationStore
from storage.artifacts.catalogue import BUDDIES, CLUSTERS, CORRELATIONS, IMAGES, ROSETTA, TRUST, tables_of_run
from storage.artifacts.neurons import neuron_rows
from storage.artifacts.seals import discard
from storage.filesystem.root import Root
from storage.filesystem.s3 import retries
from storage.upkeep.sealing import seal_finished, unsealed
from tasks.correlate.pair import correlate
from tasks.dump.activations import dump
from tasks.dump.features import write_features
from tasks.dump.images import draw_images
from tasks.match.buddies import write_buddies
from tasks.report.page import PAGE, is_written
from tasks.stage.logs import about
from tasks.stage.stage import Stage


@dataclass(frozen=True)
class Mined:
    """What a run left."""

    root: str
    stages: tuple[Stage, ...]
    units: dict[str, int]
    """By model."""
    buddies: dict[str, int]
    """By pair, `a~b`."""
    rosetta: int
    trusted: int | None
    """Rosetta neurons that are trusted (:mod:`storage.artifacts.neurons`); None where no match was judged."""
    clusters: int
    notes: tuple[str, ...] = ()
    """What a reader must know of how the matches were judged."""
    retries: int = 0
    """Requests to object stores that were made again."""

    @property
    def told(self) -> str:
        """What was found, and what of it is trusted."""
        trusted = "none judged" if self.trusted is None else f"{count(self.trusted)} of the neurons trusted"
        return (
            f"{counted(self.rosetta, 'Rosetta neuron', 'Rosetta neurons')} in "
            f"{counted(self.clusters, 'concept', 'concepts')}, {trusted}"
        )

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "root": self.root,
            "stages": [stage.as_dict() for stage in self.stages],
            "retries": self.retries,
            "notes": list(self.notes),
            "counts": {
                "units": self.units,
                "buddies": self.buddies,
                "rosetta": self.rosetta,
                "trusted": self.trusted,
                "clusters": self.clusters,
            },
        }


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
    wanted = recipe_of(recipe, root, changes)
    plan = prepare(wanted, replace)
    plan.root.require_writable()
    with holding(plan.root), about(run=wanted.name, root=plan.root.shown):
        if replace:
            _remove_what_differs(plan)
        provenance.write_recipe(plan.root, wanted)
        share_stores(plan)
        drawn = draw_images(plan.root, plan.images, wanted, plan.generator, plan.files, plan.device)
        if plan.files:
            plan = _now_known(plan, replace)
        stages = (drawn, *_run(plan))
        plan.keep_agreed()
        provenance.write_provenance(
            plan.root,
            device=plan.device,
            weights=plan.weights,
            fingerprints=plan.artifacts(),
            stages=[stage.as_dict() for stage in stages],
            retries=retries.so_far(),
        )
        seal_finished(plan.root)
    mined = _counts(plan, stages)
    _link(plan.root, wanted.name, mined)
    return replace_in(mined, retries=retries.take())


def _run(plan: Survey) -> list[Stage]:
    root, compute, device, stages = plan.root, plan.recipe.compute, plan.device, []
    for spec in plan.models:
        stages.append(dump(root, plan.activations(spec), plan.images, spec, compute, device))
    stages.append(write_features(root, plan.features))
    with cluster_of(plan, _to_compare(plan)) as cluster:
        setting = plan.setting(cluster)
        for a, b in plan.pairs:
            stages.append(correlate(root, plan.correlations((a, b)), a, b, setting))
        stages.append(write_buddies(root, plan.buddies, plan.pairs, plan.recipe.matching.neighbours))
        stages += judging_stages(plan, setting)
    return [*stages, *dictionary_stages(plan)]


def _now_known(plan: Survey, replace: bool) -> Survey:
    """The same run once the files of its source have been read, which decides about all that follows.

    Of images that are mended a file may have changed since, too.
    """
    known = with_images(plan)
    if replace:
        _remove_what_differs(known)
    share_stores(known)
    return known


def _to_compare(plan: Survey) -> bool:
    """Whether there are pairs to correlate or to judge."""
    todo = [pair for pair in plan.pairs if not (plan.stored(CORRELATIONS.path(*pair)) or {}).get("complete")]
    return bool(todo) or tables.attributes(plan.root, TRUST.path()).get("fingerprint") != plan.trust.digest


def finished(plan: Survey) -> Mined | None:
    """What a run left if there is nothing to do any more; found out without starting a flow."""
    if not plan.knows_images:
        return None
    stored = [(path, plan.stored(path), wanted) for path, wanted in plan.stores()]
    plan.keep_agreed()
    whole = all(
        found is not None and found["complete"] and found["fingerprint"] == wanted.digest for _, found, wanted in stored
    )
    derived = all(
        tables.attributes(plan.root, table).get("fingerprint") == wanted.digest for table, wanted in plan.derived()
    )
    there = whole and derived and is_written(plan.root, plan.report) and are_linked(plan)
    if not there or unsealed(plan.root):
        return None
    models = [spec.name for spec in plan.models]
    names = ["images", *(f"dump {model}" for model in models), "features"]
    names += [*(f"correlate {a}~{b}" for a, b in plan.pairs), "match"]
    names += ["profile", *(f"trust {a}~{b}" for a, b in plan.pairs), "trust"]
    names += ["units", "dictionary", "report"]
    return _counts(plan, tuple(Stage(name, 0.0, "skipped") for name in names))


def _remove_what_differs(plan: Survey) -> None:
    for path, wanted in plan.known_stores() or [(IMAGES.path(), plan.images)]:
        if path in plan.places:
            continue  # of another root, and the right one
        found = plan.stored(path)
        if found is not None and found["fingerprint"] != wanted.digest:
            discard(plan.root, path)


def _counts(plan: Survey, stages: tuple[Stage, ...]) -> Mined:
    buddies = tables.read(plan.root, BUDDIES.path()).groupby(["model_a", "model_b"]).size()
    rosetta = tables.read(plan.root, ROSETTA.path())
    neurons = neuron_rows(rosetta, plan.anchor)
    judged = rosetta.empty or bool(rosetta["q_value"].notna().any())
    return Mined(
        plan.root.shown,
        stages,
        {spec.name: len(ActivationStore.read(plan.root, spec.name).units) for spec in plan.models},
        {f"{a}~{b}": int(buddies.get((a, b), 0)) for a, b in plan.pairs},
        len(neurons),
        int(neurons["trusted"].sum()) if judged else None,
        len(tables.read(plan.root, CLUSTERS.path())),
        tuple(tables.attributes(plan.root, TRUST.path()).get("notes", ())),
    )


def _link(root: Root, name: str, mined: Mined) -> None:
    """Leave links and a summary where Prefect's page shows them."""
    key = key_of(name)
    link(root, PAGE, "the dictionary", f"{key}-report")
    for table in tables_of_run():
        link(root, table.path(), table.name, f"{key}-{table.name}")
    rows = "\n".join(map(summary_row, mined.stages))
    create_markdown_artifact(
        f"**{mined.told}**\n\n{SUMMARY_HEAD}\n{rows}\n",
        key=f"{key}-summary",
        description="what the run found, and how long each stage took",
    )

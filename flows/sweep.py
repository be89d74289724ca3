"""The flow `sweep`: many recipes, or one recipe over many models, each a run of `mine` of its own."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tomli_w
from fsspec.implementations.local import LocalFileSystem
from prefect import flow
from prefect.artifacts import create_markdown_artifact

from flows.mine import Mined, mine
from flows.reporting.links import key_of
from rosetta.errors import UserError
from rosetta.model_spec import ModelSpec
from rosetta.recipe import Recipe, parse_recipe, read_recipe
from storage.filesystem.root import Root
from tasks.stage.progress import log

SHARED = "_shared"
"""Where the runs of one recipe over many models keep what they share; no model can have this name."""


class SweepError(Exception):
    """Some runs of a sweep failed; one line for each."""


@dataclass(frozen=True)
class Planned:
    """One run of a sweep."""

    name: str
    """Of its recipe, or of the file where that cannot be read."""
    recipe: Recipe | UserError
    """The recipe, or why it cannot be run."""


@dataclass(frozen=True)
class Swept:
    """The outcome of one run of a sweep."""

    name: str
    mined: Mined | None
    reason: str = ""
    """Why it failed."""


@flow(name="sweep", flow_run_name="sweep {recipes}", validate_parameters=True)
def sweep(
    recipes: str,
    models: tuple[ModelSpec, ...] = (),
    root: str | None = None,
    changes: tuple[str, ...] = (),
    replace: bool = False,
) -> list[Swept]:
    """Mine recipes one after the other. If one fails, the others are still mined.

    Args:
        recipes: A folder of recipe files, a glob, or one recipe file, on the machine of the run.
        models: With one recipe file: run it once for each of these models, added to the recipe's own. Each run goes to
            `<root>/<model>`. What the runs share goes to `<root>/_shared` and is made once.
        root: One root for all runs. Each recipe goes to `<root>/<name of the recipe>`. Default: the root in each
            recipe.
        changes: Changes to every recipe, for example `images.count=64`, as in `rosetta mine --set`.
        replace: Rebuild what other recipes made under the same roots. Otherwise such runs are refused.

    Raises:
        UserError: No recipe was found.
        SweepError: Some runs failed; one line for each. All others are mined.
    """
    done = [swept(planned, replace) for planned in plan_sweep(recipes, models, root, changes)]
    rows = "\n".join(f"| {run.name} | {_outcome(run)} |" for run in done)
    create_markdown_artifact(f"| run | |\n|---|---|\n{rows}\n", key=key_of("sweep", recipes))
    failed = [f"{run.name}: {run.reason}" for run in done if run.mined is None]
    if failed:
        raise SweepError("\n".join([f"{len(failed)} of {len(done)} runs failed", *failed]))
    return done


def plan_sweep(
    recipes: str, models: Sequence[ModelSpec] = (), root: str | None = None, changes: Sequence[str] = ()
) -> list[Planned]:
    """The runs of a sweep. Writes nothing.

    Raises
    ------
    UserError
        No recipe was found, or more than one although models are given.
    """
    files = _files(recipes)
    if not models:
        return _apart([_planned(file.stem, _read(file, root, changes)) for file in files])
    if len(files) > 1:
        raise UserError(f"sweep: models need one recipe, but {recipes!r} has {len(files)}; name one file")
    return _apart([_planned(spec.name, _beside(files[0], spec, root, changes)) for spec in models])


def _files(recipes: str) -> list[Path]:
    pattern = f"{recipes}/*.toml" if Path(recipes).is_dir() else recipes
    if files := sorted(Path(str(name)) for name in LocalFileSystem().glob(pattern)):
        return files
    raise UserError(f"sweep: no recipe found at {recipes!r}; name a folder with .toml files, a glob, or a file")


def _read(file: Path, root: str | None, changes: Sequence[str]) -> Recipe | UserError:
    """A recipe with its own folder under the one root."""
    try:
        recipe = read_recipe(file, None, changes)
        return recipe if root is None else read_recipe(file, _under(root, recipe.name), changes)
    except UserError as error:
        return error


def _beside(file: Path, spec: ModelSpec, root: str | None, changes: Sequence[str]) -> Recipe | UserError:
    """A recipe with one model more and its own folder.

    Raises
    ------
    UserError
        The file is not a recipe, whichever model is added.
    """
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
        base, images, models = root or str(data["root"]), dict(data.get("images", {})), list(data["models"])
    except (OSError, ValueError, TypeError, KeyError):
        read_recipe(file, root, changes)  # says what is wrong with it
        raise
    data["name"] = f"{data.get('name', file.stem)}-{spec.name}"
    data["models"] = [*models, spec.model_dump(mode="json", exclude_defaults=True)]
    data["images"] = {"from": _under(base, SHARED), **images}
    try:
        return parse_recipe(tomli_w.dumps(data), f"{file} with {spec.name}", _under(base, spec.name), changes)
    except UserError as error:
        return error


def _under(root: str, name: str) -> str:
    return f"{root.rstrip('/')}/{name}"


def _planned(name: str, recipe: Recipe | UserError) -> Planned:
    return Planned(name if isinstance(recipe, UserError) else recipe.name, recipe)


def _apart(planned: list[Planned]) -> list[Planned]:
    """The same runs; where two have the same root, the second is an error, as it would overwrite the first."""
    taken: dict[str, str] = {}
    apart = []
    for run in planned:
        if isinstance(run.recipe, Recipe):
            root = Root(run.recipe.root).absolute.url
            if root in taken:
                error = f"root {run.recipe.root} is also the root of {taken[root]}; give each its own root"
                apart.append(Planned(run.name, UserError(error)))
                continue
            taken[root] = run.name
        apart.append(run)
    return apart


def swept(planned: Planned, replace: bool) -> Swept:
    """Mine one recipe; what fails is logged and told in the outcome."""
    if isinstance(planned.recipe, UserError):
        failed = Swept(planned.name, None, str(planned.recipe))
    else:
        state = mine(planned.recipe, replace, return_state=True)
        result = state.result(raise_on_failure=False)
        if isinstance(result, Mined):
            return Swept(planned.name, result)
        reason = str(result) if isinstance(result, UserError) else state.message or str(result)
        failed = Swept(planned.name, None, reason)
    log.error("%s failed: %s", failed.name, failed.reason)
    return failed


def _outcome(run: Swept) -> str:
    if run.mined is None:
        return f"**failed**: {run.reason}"
    return f"{run.mined.summary}, {run.mined.root}"

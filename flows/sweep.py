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
from rosetta.recipe import ModelSpec, Recipe, parse_recipe, read_recipe
from storage.filesystem.root import Root
from tasks.stage.progress import log

SHARED = "_shared"
"""Where the runs of one recipe over many models keep what all of them have; no model can have this name."""


class SweepError(Exception):
    """Not all runs of a sweep came to their end; a line for each that did not."""


@dataclass(frozen=True)
class Planned:
    """One run of a sweep."""

    name: str
    """Of its recipe, or of the file where that cannot be read."""
    recipe: Recipe | UserError
    """What is wrong, where it cannot be run."""


@dataclass(frozen=True)
class Swept:
    """What became of one run of a sweep."""

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
    """Mine recipes one after the other; one that fails does not keep the others from being mined.

    Args:
        recipes: A folder of recipe files, a glob, or one recipe file, where the run works.
        models: With one recipe file: run it once for each of these, with that model beside its own. Such a run lies
            under `<root>/<model>`, and what the runs have in common under `<root>/_shared`, where it is made once.
        root: The one root of all runs: those of many recipes lie under `<root>/<name of the recipe>`. Left out: where
            each recipe says.
        changes: Changes of every recipe like `images.count=64`, as `rosetta mine --set` takes them.
        replace: Rebuild what other recipes made under the same roots, instead of refusing.

    Raises:
        UserError: There is no recipe.
        SweepError: Some runs failed; a line for each. All others are mined.
    """
    done = [_swept(planned, replace) for planned in plan_sweep(recipes, models, root, changes)]
    rows = "\n".join(f"| {run.name} | {_told(run)} |" for run in done)
    create_markdown_artifact(f"| run | |\n|---|---|\n{rows}\n", key=key_of("sweep", recipes))
    failed = [f"{run.name}: {run.reason}" for run in done if run.mined is None]
    if failed:
        raise SweepError("\n".join([f"{len(failed)} of {len(done)} runs failed", *failed]))
    return done


def plan_sweep(
    recipes: str, models: Sequence[ModelSpec] = (), root: str | None = None, changes: Sequence[str] = ()
) -> list[Planned]:
    """The runs of a sweep; nothing is written.

    Raises
    ------
    UserError
        There is no recipe, or more than one where models are given.
    """
    files = _files(recipes)
    if not models:
        return _apart([_planned(file.stem, _read(file, root, changes)) for file in files])
    if len(files) > 1:
        raise UserError(f"sweep: models go with one recipe, and {recipes!r} are {len(files)}; name one file")
    return _apart([_planned(spec.name, _beside(files[0], spec, root, changes)) for spec in models])


def _files(recipes: str) -> list[Path]:
    pattern = f"{recipes}/*.toml" if Path(recipes).is_dir() else recipes
    if files := sorted(Path(str(name)) for name in LocalFileSystem().glob(pattern)):
        return files
    raise UserError(f"sweep: there is no recipe at {recipes!r}; give a folder with .toml files, a glob, or a file")


def _read(file: Path, root: str | None, changes: Sequence[str]) -> Recipe | UserError:
    """A recipe with a place of its own under the one root."""
    try:
        recipe = read_recipe(file, None, changes)
        return recipe if root is None else read_recipe(file, _under(root, recipe.name), changes)
    except UserError as error:
        return error


def _beside(file: Path, spec: ModelSpec, root: str | None, changes: Sequence[str]) -> Recipe | UserError:
    """A recipe with one model more, and a place of its own.

    Raises
    ------
    UserError
        The file is no recipe, whatever models go with it.
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
    """The same, where no two runs lie in one place: the second would be refused, or take the place of the first."""
    taken: dict[str, str] = {}
    apart = []
    for run in planned:
        if isinstance(run.recipe, Recipe):
            place = Root(run.recipe.root).absolute.url
            if place in taken:
                error = f"root {run.recipe.root} is that of {taken[place]} too; give each recipe a root and a name"
                apart.append(Planned(run.name, UserError(error)))
                continue
            taken[place] = run.name
        apart.append(run)
    return apart


def _swept(planned: Planned, replace: bool) -> Swept:
    if isinstance(planned.recipe, UserError):
        swept = Swept(planned.name, None, str(planned.recipe))
    else:
        state = mine(planned.recipe, replace, return_state=True)
        found = state.result(raise_on_failure=False)
        if isinstance(found, Mined):
            return Swept(planned.name, found)
        swept = Swept(planned.name, None, str(found) if isinstance(found, UserError) else state.message or str(found))
    log.error("sweep: %s failed: %s", swept.name, swept.reason)
    return swept


def _told(run: Swept) -> str:
    if run.mined is None:
        return f"**failed**: {run.reason}"
    return f"{run.mined.summary}, {run.mined.root}"

"""The command `rosetta study`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from flows.command.json_output import Json, print_json
from flows.command.running import quiet_prefect, start_server, under_way

if TYPE_CHECKING:
    from flows.plan.study import StudyPlan
    from flows.study import Studied


def study(
    recipe: Path,
    /,
    *,
    root: str | None = None,
    changes: Annotated[tuple[str, ...], Parameter("--set")] = (),
    replace: bool = False,
    plan: bool = False,
    as_json: Json = False,
) -> None:
    """Mine a recipe once for each model of its families, and see how counts grow with size. Resumes.

    Parameters
    ----------
    recipe
        A recipe with families, for example deployments/recipes/study.toml.
    root
        Where the study goes, any fsspec URL. Default: the root in the recipe.
    changes
        Change the recipe, for example images.count=64 or study.family.NAME.size=units. May be repeated.
    replace
        Rebuild what another recipe made under the same root.
    plan
        Print what the runs would take, and the size of each model. Needs no weights, writes nothing.
    """
    from flows.plan.study import plan_study
    from rosetta.study import read_study

    settings = read_study(recipe, root, changes)
    if plan:
        quiet_prefect()
        _print_plan(plan_study(settings), as_json)
        return
    server = start_server()
    from flows.study import study as study_flow

    plan_study(settings)  # reports bad input without waiting for the server, which starts meanwhile
    with under_way(server):
        done = study_flow(recipe, root, changes, replace)
    if as_json:
        print_json(done.as_dict())
    else:
        _print(done)


def _print_plan(planned: "StudyPlan", as_json: bool) -> None:
    """The forecast of all models of an anchor as one run: each is dumped once and correlated once with the anchor."""
    from flows.plan.forecast import forecast
    from flows.plan.gather import plan_of_recipe

    forecasts = {
        anchor: forecast(plan_of_recipe(whole, any_weights=True), footprints=not as_json)
        for anchor, whole in planned.wholes.items()
    }
    if as_json:
        sizes = {name: dict(of_family) for name, of_family in planned.sizes.items()}
        runs = [{"anchor": one.anchor, "model": one.model, "root": one.recipe.root} for one in planned.members]
        plans = {anchor: one.as_dict() for anchor, one in forecasts.items()}
        print_json({"root": planned.study.recipe.root, "families": sizes, "runs": runs, "plans": plans})
        return
    from rosetta.view.numbers import counted
    from tasks.stage.text_table import print_table

    print_table(
        ("family", "model", "size", "parameters"),
        (
            (family, model, f"{size:,.15g}", planned.parameters[model])
            for family, of_family in planned.sizes.items()
            for model, size in of_family.items()
        ),
        words=("family", "model"),
    )
    for anchor, one in forecasts.items():
        print(f"\nAgainst {anchor}, {counted(len(planned.study.members), 'run', 'runs')}; what they share counts once:")
        one.print()


def _print(done: "Studied") -> None:
    from rosetta.view.numbers import correlation, counted, percent, significant
    from tasks.stage.text_table import print_table

    def row(one: dict[str, Any]) -> tuple[str | int, ...]:
        numbers = (one["buddies"], one["buddies_trusted"], one["neurons"], one["neurons_trusted"])
        names = (one["anchor"], one["family"], one["model"], f"{one['size']:,.15g}", one["units"])
        return (*names, *numbers, percent(one["share"]), significant(one["rarefied"]))

    numbers = ("buddies", "trusted", "neurons", "trusted ", "share", "equal units")
    heads = ("anchor", "family", "model", "size", "units", *numbers)
    print_table(heads, map(row, done.tables.models.to_dict("records")), words=heads[:3])
    laws = done.tables.exponents
    print()
    for law in laws[(laws["part"] == "all") & laws["count"].isin(("buddies", "neurons", "rarefied"))].itertuples():
        interval = f"{correlation(law.exponent)} ({correlation(law.low)} to {correlation(law.high)})"
        told = "not known, as a model has none" if law.exponent != law.exponent else interval
        print(f"{law.anchor}, {law.family}: exponent of {law.count} {told}")
    skipped = sum(run.skipped for run in done.runs)
    print(f"{counted(len(done.runs), 'run', 'runs')}, {skipped} of them complete before")
    print(f"Page: {done.root}/{done.page}")

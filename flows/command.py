"""The command `rosetta`."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import click
import typer

from rosetta.errors import UserError

app = typer.Typer(
    help="Mine the units that vision models share, and look at them.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else.")]


@app.command()
def mine(
    recipe: Annotated[Path, typer.Argument(help="A recipe, deployments/recipes/faces.toml say.")],
    root: Annotated[str | None, typer.Option(help="Where the artifacts go, instead of the recipe's root.")] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe, like images.count=64. May be repeated."),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Make anew what another recipe made under the same root.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Mine a recipe: dump, correlate, match, cluster, draw. Goes on where an earlier run stopped."""
    from rosetta.recipe import read_recipe

    wanted = read_recipe(recipe, root, changes or [])
    _quiet_prefect()
    from flows.console import narrated
    from flows.mine import mine as mine_flow

    with narrated():
        mined = mine_flow(wanted, replace)
    if as_json:
        _print_json(mined.as_dict())
        return
    if all(stage.outcome == "skipped" for stage in mined.stages):
        print("Nothing to do: every artifact is complete.")
    print(f"{mined.rosetta} Rosetta neurons in {mined.clusters} clusters")
    print(f"Look at {mined.root}/report/index.html")


@app.command()
def zoo(
    model: Annotated[str | None, typer.Argument(help="A model, timm/resnet50 say; left out: all families.")] = None,
    as_json: Json = False,
) -> None:
    """List families and models, or one model's layers with their channels and grids."""
    from rosetta import zoo as models

    if model is None:
        families = models.families()
        if as_json:
            _print_json({name: {"about": about, "models": models.names(name)} for name, about in families.items()})
            return
        for name, about in families.items():
            print(f"{name:12} {about}")
        return
    from rosetta.recipe import recipe_from

    # A recipe checks the name as it would anywhere; the second model only makes it whole.
    entry = {"name": "model", "model": model, "weights": "random:0"}
    spec = recipe_from({"name": "zoo", "root": ".", "models": [entry, {**entry, "name": "other"}]}, "zoo").models[0]
    loaded = models.load(spec)
    layers = [
        {"name": layer.name, "channels": layer.channels, "grid_y": layer.grid[0], "grid_x": layer.grid[1]}
        for layer in loaded.units.layers
    ]
    if as_json:
        _print_json({"model": model, "units": len(loaded.units), "layers": layers})
        return
    print(f"{model}: {len(loaded.units)} units in {len(layers)} layers")
    for (layer, span), row in zip(loaded.units.spans(), layers, strict=True):
        grid = f"{row['grid_y']} × {row['grid_x']}"
        print(f"  {layer.name:32} {layer.channels:6} channels  {grid:>11}  from unit {span.start}")


@app.command()
def check(root: Annotated[str, typer.Argument(help="The root of a run.")], as_json: Json = False) -> None:
    """Read every chunk and every table of a run and name what is damaged or missing."""
    from storage.check import check_root
    from storage.location import Root

    findings = check_root(Root(root))
    if as_json:
        _print_json({"root": root, "damaged": [finding.as_dict() for finding in findings]})
    else:
        for finding in findings:
            print(f"{finding.artifact}: {finding.problem}")
        if not findings:
            print("Everything is whole.")
    if findings:
        raise typer.Exit(2)


@app.command()
def status(root: Annotated[str, typer.Argument(help="The root of a run.")], as_json: Json = False) -> None:
    """Show what of a run is complete, begun or missing, from its stores alone."""
    from storage.location import Root
    from storage.status import artifacts

    found = artifacts(Root(root))
    if as_json:
        _print_json({"root": root, "artifacts": [entry.as_dict() for entry in found]})
        return
    for entry in found:
        print(f"{entry.artifact:40} {entry.state}")


@app.command()
def bench() -> None:
    """Measure this machine: writes runs/bench/bench.json. Needs a checkout, like `make bench`."""
    import subprocess

    script = Path(__file__).resolve().parent.parent / "tests" / "benchmarks" / "faces.py"
    if not script.exists():
        raise UserError("the benchmarks are part of the checkout, not of the package; run this from a clone")
    raise typer.Exit(subprocess.call([sys.executable, str(script)]))


def _quiet_prefect() -> None:
    """Keep Prefect's own lines off the terminal: they still go to its server, and errors are told in our words."""
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("PREFECT_SERVER_LOGGING_LEVEL", "CRITICAL")


def _print_json(data: Any) -> None:
    print(json.dumps(data, indent=2, ensure_ascii=False))


def main() -> None:
    """Run the command: 0 when done, 2 with one line for what the user can mend, 1 for a fault of ours."""
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except UserError as error:
        print(f"rosetta: {error}", file=sys.stderr)
        sys.exit(2)
    except click.exceptions.Exit as leave:
        sys.exit(leave.exit_code)
    except click.UsageError as error:
        print(f"rosetta: {error.format_message()} (rosetta --help lists what there is)", file=sys.stderr)
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        print("rosetta: stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()

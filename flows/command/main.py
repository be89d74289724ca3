"""The command `rosetta`."""

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter

from flows.command import guided as guided_command
from flows.command import upkeep as upkeep_command
from flows.command.json_output import Json, print_json
from flows.command.quiet import quiet_prefect
from flows.command.report import report
from flows.command.zoo import zoo
from rosetta.errors import UserError

app = App(
    name="rosetta",
    help="Mine the units that vision models share, and look at them.",
    version_flags=[],
    default_parameter=Parameter(show_default=False),
)


@app.command
def mine(
    recipe: Path,
    /,
    *,
    root: str | None = None,
    changes: Annotated[tuple[str, ...], Parameter("--set", negative="")] = (),
    replace: Annotated[bool, Parameter(negative="")] = False,
    mend: Annotated[bool, Parameter(negative="")] = False,
    plan: Annotated[bool, Parameter(negative="")] = False,
    as_json: Json = False,
) -> None:
    """Mine a recipe: dump, correlate, match, cluster, draw. Goes on where an earlier run stopped.

    Parameters
    ----------
    recipe
        A recipe, deployments/recipes/faces.toml say.
    root
        Where the artifacts go, any fsspec URL, instead of the recipe's root.
    changes
        Change the recipe, like images.count=64. May be repeated.
    replace
        Rebuild what another recipe made under the same root.
    mend
        Read the whole run first, as `rosetta check` does, and make just what is damaged again.
    plan
        Only say what it would take: bytes stored and read, operations, peak memory. Weights may be missing.
    """
    from rosetta.recipe import read_recipe

    wanted = read_recipe(recipe, root, changes)
    quiet_prefect()
    if plan:
        from flows.plan.forecast import forecast
        from flows.plan.gather import plan_of_recipe

        planned = forecast(plan_of_recipe(wanted, any_weights=True))
        if as_json:
            print_json(planned.as_dict())
        else:
            planned.print()
        return
    from flows.reporting.embedded_server import EmbeddedServer
    from storage.artifacts.provenance import ended_with

    # Started first, it comes up beside imports and checks. Where a run with this very recipe has come to its end there
    # is most often nothing left to do, and it waits.
    server = None if ended_with(wanted) and not mend else EmbeddedServer.unless_configured()
    from flows.command.console import narrated, unheard
    from flows.locking import mend_root
    from flows.mine import finished
    from flows.mine import mine as mine_flow
    from flows.plan.checks import prepare

    mended = mend_root(wanted.root) if mend else []
    # What is wrong, or that nothing is left to do, is said without waiting for a server.
    with unheard():
        mined = finished(prepare(wanted, replace))
    if mined is None:
        server = server or EmbeddedServer.unless_configured()
        with narrated(), server.in_use() if server else nullcontext():
            mined = mine_flow(wanted, replace)
    if as_json:
        print_json({**mined.as_dict(), "mended": [finding.as_dict() for finding in mended]})
        return
    for finding in mended:
        again = f"; give the same {finding.again} again, which makes just that" if finding.again else ""
        print(f"{'Removed' if again else 'Mended'} {finding.shown}: {finding.problem}{again}")
    if all(stage.outcome == "skipped" for stage in mined.stages):
        print("Nothing to do: every artifact is complete.")
    print(mined.summary)
    for note in mined.notes:
        print(f"Note: {note}")
    print(f"Look at {mined.root}/report/index.html")


@app.command
def trust(
    root: str, /, *, changes: Annotated[tuple[str, ...], Parameter("--set", negative="")] = (), as_json: Json = False
) -> None:
    """Judge every match of a mined run: chance, halves, position, pixels, controls; then the dictionary and the page.

    Parameters
    ----------
    root
        The root of a run, any fsspec URL.
    changes
        Change what a trusted match must show, like trust.q=0.01. May be repeated.
    """
    from flows.reporting.embedded_server import EmbeddedServer

    quiet_prefect()
    server = EmbeddedServer.unless_configured()
    from flows.command.console import narrated
    from flows.trust import prepared
    from flows.trust import trust as trust_flow
    from tasks.trust.summary import survivors

    plan = prepared(root, changes)
    with narrated(), server.in_use() if server else nullcontext():
        trust_flow(plan.recipe)
    found = survivors(plan.root, plan.anchor)
    if as_json:
        print_json(found.as_dict())
        return
    found.print()


app.command(zoo)
app.command(guided_command.invert)
app.command(guided_command.edit)
app.command(report)


@app.command
def check(root: str, /, *, images: Annotated[bool, Parameter(negative="")] = False, as_json: Json = False) -> None:
    """Read every chunk and every table of a run and name what is damaged or missing.

    Parameters
    ----------
    root
        The root of a run, any fsspec URL.
    images
        Read the image files of its source, too, and name those that are not what was mined.
    """
    from storage.filesystem.root import Root
    from storage.upkeep.check import check_root

    findings = check_root(Root(root))
    if images:
        from tasks.source.recognition import check_sources

        findings += check_sources(Root(root))
    if as_json:
        print_json({"root": root, "damaged": [finding.as_dict() for finding in findings]})
    else:
        for finding in findings:
            print(f"{finding.shown}: {finding.problem}")
        if not findings:
            print("Everything is whole.")
    if findings:
        sys.exit(2)


app.command(upkeep_command.status)
app.command(upkeep_command.prune)


@app.command
def bench() -> None:
    """Run the benchmarks on this machine and write runs/bench/bench.json. Needs a checkout, as `make bench` does."""
    import subprocess

    script = Path(__file__).resolve().parent.parent / "tests" / "benchmarks"
    if not script.exists():
        raise UserError("the benchmarks are part of the checkout, not of the package; run this from a clone")
    sys.exit(subprocess.call([sys.executable, str(script)]))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command: 0 when done, 2 with one line for what the user can mend, 1 for a fault of ours."""
    try:
        app(arguments, print_error=False, exit_on_error=False, result_action="return_value")
    except UserError as error:
        print(f"rosetta: {error}", file=sys.stderr)
        sys.exit(2)
    except CycloptsError as error:
        print(f"rosetta: {' '.join(str(error).split())} (rosetta --help lists what there is)", file=sys.stderr)
        sys.exit(2)
    except Exception as error:
        from flows.reporting.embedded_server import fault_of_server
        from storage.filesystem.s3 import fault_of_store
        from storage.upkeep.check import is_damage

        told = fault_of_store(error) or fault_of_server(error)
        if told is None and is_damage(error):
            told = "what was written is damaged; rosetta check ROOT names it, rosetta mine with --mend makes it again"
        if told is None:
            raise
        print(f"rosetta: {told}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("rosetta: stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()

"""The command `rosetta`."""

import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter
from cyclopts import ValidationError as RefusedValue
from pydantic import ValidationError

from flows.command import upkeep
from flows.command.closed_output import ends_quietly, is_of_output
from flows.command.explain import explain as explain_image
from flows.command.export import export
from flows.command.json_output import Json, print_json
from flows.command.notes import notes
from flows.command.report import report
from flows.command.running import collect_rarely, quiet_prefect, start_server, under_way
from flows.command.shelf import shelf
from flows.command.study import study
from flows.command.zoo import zoo
from rosetta.errors import UserError
from rosetta.strict import explain

app = App(
    name="rosetta",
    help="Mine the units that vision models share, and explore them.",
    version=lambda: version("rosetta-mine"),
    default_parameter=Parameter(show_default=False, negative=""),
)
Changes = Annotated[tuple[str, ...], Parameter("--set")]
_RENAMED = {"--clusters": "--concepts"}
"""Options of earlier versions, which this one still accepts."""


@app.command
def mine(
    recipe: Path,
    /,
    *,
    root: str | None = None,
    changes: Changes = (),
    replace: bool = False,
    mend: bool = False,
    plan: bool = False,
    on: str | None = None,
    rates: tuple[Path, ...] = (),
    as_json: Json = False,
) -> None:
    """Mine a recipe: dump, correlate, match, test, and write the dictionary. Resumes a run that stopped.

    Parameters
    ----------
    recipe
        A recipe file, for example deployments/recipes/faces.toml.
    root
        Where the artifacts go, any fsspec URL. Default: the root in the recipe.
    changes
        Change the recipe, for example images.count=64. May be repeated.
    replace
        Rebuild what another recipe made under the same root.
    mend
        First read the whole run, as `rosetta check` does, and rebuild only what is damaged.
    plan
        Print what the run would take: bytes stored and read, operations, peak memory. Needs no weights, writes nothing.
    on
        With --plan: devices of another machine, for example h100:8, to estimate the run's hours there.
    rates
        With --on: a file that rosetta zoo --measure wrote, or a .toml of device rates, to replace estimates. May be
        repeated.
    """
    from rosetta.recipe import read_recipe

    if on is not None and not plan:
        raise UserError("--on says where --plan is to take place; add --plan")
    if rates and on is None:
        raise UserError("--rates are those of the devices of --on; add --plan --on DEVICE:COUNT")
    settings = read_recipe(recipe, root, changes)
    quiet_prefect()
    if on is not None:
        from flows.plan.simulated import simulate
        from flows.plan.simulated_text import print_simulation

        simulated = simulate(settings, on, rates)
        if as_json:
            print_json(simulated.as_dict())
        else:
            print_simulation(simulated)
        return
    if plan:
        from flows.plan.forecast import forecast
        from flows.plan.gather import plan_of_recipe

        planned = forecast(plan_of_recipe(settings, any_weights=True), footprints=True)
        if as_json:
            print_json(planned.as_dict())
        else:
            planned.print()
        return
    from storage.artifacts.provenance import ended_with

    # Where a run with this very recipe is complete there is most often nothing left to do, and no server is needed.
    server = None if ended_with(settings) and not mend else start_server()
    from flows.command.console import unheard
    from flows.locking import mend_root
    from flows.mine import finished
    from flows.mine import mine as mine_flow
    from flows.plan.checks import prepare

    mended = mend_root(settings.root) if mend else []
    # Bad input is reported, or that nothing is left to do, without waiting for the server.
    with unheard():
        mined = finished(prepare(settings, replace))
    if mined is None:
        with under_way(server or start_server()):
            mined = mine_flow(settings, replace)
    if as_json:
        print_json({**mined.as_dict(), "mended": [finding.as_dict() for finding in mended]})
        return
    for finding in mended:
        again = f"; run {finding.again} again to rebuild it" if finding.again else ""
        print(f"{'Removed' if again else 'Mended'} {finding.shown}: {finding.problem}{again}")
    if all(stage.outcome == "skipped" for stage in mined.stages):
        print("Nothing to do: every artifact is complete.")
    print(mined.summary)
    if mined.chance:
        print(mined.chance)
    for note in mined.notes:
        print(f"Note: {note}")
    print(f"Report: {mined.root}/report/index.html")


@app.command
def trust(root: str, /, *, changes: Changes = (), as_json: Json = False) -> None:
    """Test every match of a mined run, then rebuild the dictionary and its page.

    The recipe's `trust.tests` says which tests count. All others are reported beside them, with what the dictionary
    counts when images are exchanged.

    Parameters
    ----------
    root
        Root of a run, any fsspec URL.
    changes
        Change what a trusted match must pass, for example trust.q=0.01 or trust.tests=["chance","lift"]. May be
        repeated.
    """
    server = start_server()
    from flows.trust import prepared
    from flows.trust import trust as trust_flow
    from storage.run.data import RunData
    from tasks.trust.summary import survivors

    plan = prepared(root, changes)
    with under_way(server):
        trust_flow(plan.recipe)
    survived = survivors(RunData.open(root))
    if as_json:
        print_json(survived.as_dict())
        return
    survived.print()


app.command(study)
app.command(zoo)
# Their settings import torch, which no other command should wait for.
app.command("flows.command.guided:invert", help="Find the latents of images, guided by the matches of a run.")
app.command("flows.command.guided:edit", help="Edit images by changing the activation maps of their Rosetta neurons.")
app.command("flows.command.ablate:ablate", help="Test what the units of a run cause.")
app.command(explain_image, name="explain")
app.command("flows.command.label:label", help="Name the concepts of a run, by words or by masks.")
app.command(notes)
app.command("flows.command.join:join", help="Join the concepts of several generators, through models that saw both.")
app.command("flows.command.compare:compare", help="Compare two runs of the same models: what stays, and by chance.")
app.command(report)
app.command(shelf)
app.command(export)


@app.command
def check(root: str, /, *, images: bool = False, as_json: Json = False) -> None:
    """Read every chunk and every table of a run, and list what is damaged or missing.

    Parameters
    ----------
    root
        Root of a run, any fsspec URL.
    images
        Also read the source images, and list those that changed since they were mined.
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
            print("No damage found.")
    if findings:
        sys.exit(2)


app.command(upkeep.status)
app.command(upkeep.prune)
app.command(upkeep.upgrade)


@app.command
def bench() -> None:
    """Run the benchmarks on this machine and write runs/bench/bench.json. Needs a clone of the repository."""
    import subprocess

    script = Path(__file__).resolve().parents[2] / "tests" / "benchmarks"
    if not script.exists():
        raise UserError("the benchmarks are not part of the installed package; run this command from a clone")
    sys.exit(subprocess.call([sys.executable, str(script)]))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command. Exit codes: 0 for success, 2 with one line for an error the user can fix, 1 for a bug.

    Where nobody reads the output any more (`rosetta … | head`), 141 without a line, as of other commands.
    """
    collect_rarely()
    with ends_quietly():
        _run(arguments)


def _run(arguments: Sequence[str] | None) -> None:
    """Run the command, and turn errors into exit codes."""
    try:
        words = _current(sys.argv[1:] if arguments is None else arguments)
        app(words, print_error=False, exit_on_error=False, result_action="return_value")
    except UserError as error:
        _refuse(str(error))
    except CycloptsError as error:
        _refuse(_usage(error))
    except Exception as error:
        if is_of_output(error):
            raise
        from flows.reporting.embedded_server import fault_of_server
        from storage.filesystem.s3 import fault_of_store
        from storage.upkeep.check import is_damage

        reason = fault_of_store(error) or fault_of_server(error)
        if reason is None and is_damage(error):
            reason = "an artifact is damaged; rosetta check ROOT names it, rosetta mine RECIPE --mend rebuilds it"
        if reason is None:
            raise
        _refuse(reason)
    except KeyboardInterrupt:
        print("rosetta: stopped; run the same command again to resume", file=sys.stderr)
        sys.exit(130)


def _refuse(reason: str) -> None:
    print(f"rosetta: {reason}", file=sys.stderr)
    sys.exit(2)


def _current(words: Sequence[str]) -> list[str]:
    """A command line with options under their current names. A line on standard error names each that was renamed."""
    current = []
    renamed = set()
    for word in words:
        option, *value = word.split("=", 1)
        if option in _RENAMED:
            renamed.add(option)
            option = _RENAMED[option]
        current.append("=".join([option, *value]))
    for option in sorted(renamed):
        print(f"rosetta: {option} is now {_RENAMED[option]}; the old name will be removed", file=sys.stderr)
    return current


def _usage(error: CycloptsError) -> str:
    """What is wrong with a command line. A setting's value is refused in the words of a recipe's."""
    command = list(error.command_chain or ())
    if isinstance(error, RefusedValue) and isinstance(error.__cause__, ValidationError) and error.argument:
        return f"{' '.join(command)}: {explain(error.__cause__, {}, error.argument.hint)}"
    return f"{' '.join(str(error).split())} ({' '.join(['rosetta', *command])} --help lists the options)"


if __name__ == "__main__":
    main()

"""The commands `rosetta status`, `rosetta prune` and `rosetta upgrade`: what lies under a root, what can be removed,
and what is of an older format."""

import sys

from flows.command.json_output import Json, print_json
from flows.command.running import quiet_prefect
from rosetta.view.numbers import counted


def status(root: str, /, *, as_json: Json = False) -> None:
    """Show which artifacts of a run are complete, under way or missing, and what its workers do. Reads files alone.

    Parameters
    ----------
    root
        Root of a run, or of stores that runs share; any fsspec URL.
    """
    from dask.utils import format_bytes

    from storage.filesystem.root import Root
    from storage.upkeep.status import status as status_of

    state = status_of(Root(root))
    if as_json:
        print_json({**state.as_dict(), "root": root})
        return
    for entry in state.artifacts:
        size = "" if entry.bytes is None else format_bytes(entry.bytes)
        notes = [*(["under way"] if entry.active else []), *([f"in {entry.shared}"] if entry.shared else [])]
        print(f"{entry.artifact:40} {entry.state:20} {size:>10} {', '.join(notes)}".rstrip())
    if state.without_store:
        print(f"Not dumped yet: {', '.join(state.without_store)}")
    for user in state.users:
        print(f"Shared by {user}")
    if state.upgrade:
        print(f"Upgrade: {state.upgrade}")
    if state.running:
        print(f"Under way: {state.running}")
    if state.work is not None:
        from tasks.stage.text_table import print_table
        from tasks.stage.workers import COLUMNS, rows, summary

        print(f"{state.work.stage}: {summary(state.work)}")
        print_table(COLUMNS, rows(state.work), COLUMNS[:3])


def prune(root: str, /, *, forget: tuple[str, ...] = (), yes: bool = False, as_json: Json = False) -> None:
    """List what lies under a root and belongs to no run any more, with its size. Remove it with --yes.

    Parameters
    ----------
    root
        Root of a run, or of stores that runs share; any fsspec URL.
    forget
        Root of a run that no longer exists, whose stores here are released. May be repeated.
    yes
        Remove it without asking. Otherwise the command asks, on a terminal only.
    """
    from dask.utils import format_bytes

    from flows.locking import holding
    from storage.filesystem.root import Root
    from storage.upkeep.prune import find_leftovers, remove

    place = Root(root)
    leftovers = find_leftovers(place, forget)
    size = format_bytes(leftovers.bytes)
    if not as_json:
        for leftover in leftovers.leftovers:
            print(f"{leftover.path:40} {format_bytes(leftover.bytes):>10} {leftover.why}")
        for path, reason in leftovers.kept:
            print(f"{path:40} kept: {reason}")
    something = bool(leftovers.leftovers or leftovers.entries)
    agreed = yes or (something and not as_json and _confirm(f"Remove {size}? [y/N] "))
    if agreed:
        with holding(place):
            remove(place, leftovers.still(find_leftovers(place, forget)))
    if as_json:
        print_json({"root": root, **leftovers.as_dict(), "removed": agreed and something})
    elif not something:
        print("Nothing to remove.")
    elif agreed:
        print(f"Removed {size}.")
    else:
        print(f"{size} in all. Nothing was removed; add --yes to remove it.")


def upgrade(root: str, /, *, as_json: Json = False) -> None:
    """Rewrite a run of an older format in the present one, in place. Resumes an upgrade that stopped.

    Values stay what they are, to the last bit: every array is read back and compared before it takes the place of the
    old one. The disk needs room for the largest store once more.

    Parameters
    ----------
    root
        Root of a run, or of stores that runs share; any fsspec URL.
    """
    quiet_prefect()
    from flows.command.console import narrated
    from flows.upgrade import upgrade_root

    with narrated():
        upgraded = upgrade_root(root)
    if as_json:
        print_json({"rewritten": [], "removed": [], **(upgraded.as_dict() if upgraded else {}), "root": root})
        return
    if upgraded is None:
        print("Nothing to do: the root is in the present format.")
        return
    for path in upgraded.removed:
        print(f"Removed {path}: there was nothing to keep; run rosetta mine again to rebuild it")
    print(f"Rewrote {counted(len(upgraded.rewritten), 'artifact', 'artifacts')}.")


def _confirm(question: str) -> bool:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    return input(question).strip().lower() in ("y", "yes")

"""The commands `rosetta status` and `rosetta prune`: what lies under a root, and what need not."""

import sys
from typing import Annotated, Any

from cyclopts import Parameter

from flows.command.json_output import Json, print_json
from flows.locking import holding


def status(root: str, /, *, as_json: Json = False) -> None:
    """Show what of a run is complete, under way or missing, from its stores alone.

    Parameters
    ----------
    root
        The root of a run, or one that runs share; any fsspec URL.
    """
    from storage.filesystem.root import Root
    from storage.upkeep.status import status as status_of

    found = status_of(Root(root))
    if as_json:
        print_json({**found.as_dict(), "root": root})
        return
    for entry in found.artifacts:
        size = "" if entry.bytes is None else in_bytes(entry.bytes)
        notes = [*(["under way"] if entry.active else []), *([f"in {entry.shared}"] if entry.shared else [])]
        print(f"{entry.artifact:40} {entry.state:20} {size:>10} {', '.join(notes)}".rstrip())
    if found.without_store:
        print(f"Not dumped yet: {', '.join(found.without_store)}")
    for user in found.users:
        print(f"Shared by {user}")
    if found.running:
        print(f"Under way: {found.running}")


def prune(
    root: str,
    /,
    *,
    forget: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    yes: Annotated[bool, Parameter(negative="")] = False,
    as_json: Json = False,
) -> None:
    """Show what lies under a root and belongs to no run any more, with its size; remove it with --yes.

    Parameters
    ----------
    root
        The root of a run, or one that runs share; any fsspec URL.
    forget
        Root of a run that is gone and counts no more among those that share this one. May be repeated.
    yes
        Remove it. On a terminal you are asked otherwise.
    """
    from storage.filesystem.root import Root
    from storage.upkeep.prune import find_leftovers, remove

    place = Root(root)
    found = find_leftovers(place, forget)
    if not as_json:
        for leftover in found.leftovers:
            print(f"{leftover.path:40} {in_bytes(leftover.bytes):>10} {leftover.why}")
        for path, reason in found.kept:
            print(f"{path:40} stays: {reason}")
    something = bool(found.leftovers or found.entries)
    agreed = yes or (something and not as_json and _asked(found.bytes))
    if agreed:
        with holding(place):
            remove(place, found.still(find_leftovers(place, forget)))
    if as_json:
        answer: dict[str, Any] = {"root": root, **found.as_dict(), "removed": agreed and something}
        print_json(answer)
    elif not something:
        print("Nothing to remove.")
    elif agreed:
        print(f"Removed {in_bytes(found.bytes)}.")
    else:
        print(f"{in_bytes(found.bytes)} in all; nothing was removed. Give --yes to remove it.")


def _asked(size: int) -> bool:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    return input(f"Remove {in_bytes(size)}? [y/N] ").strip().lower() in ("y", "yes")


def in_bytes(count: int) -> str:
    """A count of bytes for people."""
    size, names = float(count), ["B", "KiB", "MiB", "GiB", "TiB"]
    while size >= 1024 and len(names) > 1:
        size, names = size / 1024, names[1:]
    return f"{size:.3g} {names[0]}" if size < 1000 else f"{size:.0f} {names[0]}"

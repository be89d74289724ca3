"""The empty database that a server starts with, made by Prefect's migrations.

The migrations are thousands of statements and take longer than the rest of the start. So the database is made once per
version of Prefect and kept in the user's cache. Without a usable cache a start only takes those seconds longer.
"""

import os
import sqlite3
from contextlib import closing, suppress
from importlib.metadata import version
from pathlib import Path

_NAME = "prefect.db"


def seed(home: Path) -> None:
    """Copy the cached database, if it is sound, into the home of a server that is about to start."""
    with suppress(OSError, RuntimeError, sqlite3.Error):
        kept = _kept()
        if not kept.exists():
            return
        with closing(sqlite3.connect(kept)) as source:
            if _is_sound(source):
                _copy(source, home / _NAME)
                return
        kept.unlink()


def keep(home: Path) -> None:
    """Cache the database of a server that has just started and has no run yet."""
    with suppress(OSError, RuntimeError, sqlite3.Error):
        kept = _kept()
        if kept.exists():
            return
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = kept.with_name(f"{kept.name}.{os.getpid()}.part")
        try:
            with closing(sqlite3.connect(home / _NAME)) as source:
                _copy(source, part)
            part.replace(kept)
        finally:
            part.unlink(missing_ok=True)


def _is_sound(database: sqlite3.Connection) -> bool:
    """Whether it is readable and its migrations are complete."""
    try:
        intact = database.execute("PRAGMA quick_check").fetchone() == ("ok",)
        return intact and database.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)
    except sqlite3.Error:
        return False


def _copy(source: sqlite3.Connection, target: Path) -> None:
    with closing(sqlite3.connect(target)) as copied:
        source.backup(copied)


def _kept() -> Path:
    """Raises RuntimeError where there is no home."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return caches / "rosetta" / f"prefect-{version('prefect')}.db"

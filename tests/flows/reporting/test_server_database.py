"""Prefect's empty database is made once, and a cache of it that is of no use is none."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from flows.reporting import server_database


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "rosetta"


@pytest.fixture
def home(tmp_path) -> Path:
    """Of a server that has made its tables, the last of them not yet in the file itself."""
    folder = tmp_path / "first"
    folder.mkdir()
    with closing(sqlite3.connect(folder / "prefect.db")) as made:
        made.execute("PRAGMA journal_mode = WAL")
        made.executescript("CREATE TABLE flow_run (name TEXT); CREATE TABLE alembic_version (number TEXT);")
        made.execute("INSERT INTO alembic_version VALUES ('abc')")
        made.commit()
        yield folder


def tables(folder: Path) -> set[str]:
    with closing(sqlite3.connect(folder / "prefect.db")) as database:
        assert database.execute("SELECT number FROM alembic_version").fetchall() == [("abc",)]
        return {name for (name,) in database.execute("SELECT name FROM sqlite_master")}


def seeded(tmp_path: Path) -> Path:
    folder = tmp_path / "next"
    folder.mkdir()
    server_database.seed(folder)
    return folder


def test_the_next_server_starts_with_what_the_first_one_made(cache, home, tmp_path):
    server_database.keep(home)
    server_database.keep(home)
    assert len(list(cache.iterdir())) == 1
    folder = seeded(tmp_path)
    assert [file.name for file in folder.iterdir()] == ["prefect.db"]
    assert tables(folder) == {"flow_run", "alembic_version"}


def test_the_first_has_none(cache, tmp_path):
    assert list(seeded(tmp_path).iterdir()) == []
    assert not cache.exists()


def test_another_version_of_prefect_has_its_own(cache, home, tmp_path, monkeypatch):
    server_database.keep(home)
    monkeypatch.setattr("flows.reporting.server_database.version", lambda _: "0.0.1")
    assert list(seeded(tmp_path).iterdir()) == []


@pytest.mark.parametrize("damage", [b"", b"no database at all" * 99, "middle"])
def test_a_damaged_one_is_made_again(cache, home, tmp_path, damage):
    server_database.keep(home)
    (kept,) = cache.iterdir()
    content = bytearray(kept.read_bytes())
    content[len(content) // 2 :] = b"\xff" * (len(content) - len(content) // 2)
    kept.write_bytes(content if damage == "middle" else damage)
    assert list(seeded(tmp_path).iterdir()) == []
    assert not kept.exists()
    server_database.keep(home)
    assert kept.exists()


def test_a_cache_that_cannot_be_had_is_done_without(home, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file" / "cache"))
    server_database.keep(home)
    assert list(seeded(tmp_path).iterdir()) == []

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", homeless)
    server_database.keep(home)
    server_database.seed(tmp_path / "next")
    assert list((tmp_path / "next").iterdir()) == []

"""Removing a folder that something still writes into."""

import errno
import os
from pathlib import Path

import pytest

from storage.filesystem import root as module
from storage.filesystem.root import Root


@pytest.fixture
def late(tmp_path, monkeypatch) -> list[str]:
    """The files, by name, of which one appears each time just before the folder itself would go."""
    names: list[str] = []
    rmdir = os.rmdir

    def written_meanwhile(path, *, dir_fd=None):
        if names and Path(path).name == "store.zarr":
            (tmp_path / "store.zarr" / names.pop()).touch()
        rmdir(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "rmdir", written_meanwhile)
    monkeypatch.setattr(module, "_REMOVALS_S", 0.001)
    (tmp_path / "store.zarr/layer").mkdir(parents=True)
    (tmp_path / "store.zarr/layer/zarr.json").touch()
    return names


def test_files_that_come_late_go_too(tmp_path, late):
    late.extend(["zarr.json", "c", "layer-2"])
    Root(str(tmp_path)).remove("store.zarr")
    assert not late
    assert not (tmp_path / "store.zarr").exists()


def test_a_folder_that_never_rests_is_told(tmp_path, late):
    late.extend(str(number) for number in range(100))
    with pytest.raises(OSError, match="not empty") as told:
        Root(str(tmp_path)).remove("store.zarr")
    assert told.value.errno == errno.ENOTEMPTY


def test_what_is_not_there_is_no_error(tmp_path):
    Root(str(tmp_path)).remove("store.zarr")

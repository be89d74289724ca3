"""What Linux, or glibc, alone has is used where it is there, and missed by no one where it is not."""

import ctypes
import os
import signal
import sys
from pathlib import Path

import dask.system
import psutil
import pytest
from command import Command
from tinyzoo import recipe_text

from flows.reporting import embedded_server as server
from tasks.plan.facts import Facts
from tasks.stage import memory

SHORN = """
import os, sys
for name in {names}:
    if hasattr(os, name):
        delattr(os, name)
def watch(event, arguments):
    if event == "ctypes.dlsym" and arguments[1] in {symbols}:
        raise AttributeError(arguments[1])
sys.addaudithook(watch)
"""
"""A `sitecustomize.py` that takes away what macOS and other C libraries lack."""
NAMES = ("sched_getaffinity", "sched_setaffinity", "fdatasync", "posix_fadvise", "posix_fallocate", "pidfd_open")
SYMBOLS = ("prctl", "mallopt", "malloc_trim")


class Library:
    """A C library with nothing in it."""


def threads() -> int:
    return Facts("cpu").threads


@pytest.fixture
def macos(monkeypatch):
    """What our own modules see of macOS."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.delattr(psutil.Process, "cpu_affinity", raising=False)
    monkeypatch.setattr(dask.system, "LINUX", False)
    monkeypatch.setattr(sys, "platform", "darwin")

    def none(*_: object) -> None:
        raise AssertionError("the C library was asked")

    monkeypatch.setattr(ctypes, "CDLL", none)


def test_threads_are_those_that_the_system_gives(macos, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert threads() == 7


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to processors")
def test_threads_are_no_more_than_the_processors_that_the_process_may_use():
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert threads() == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_memory_is_tuned_on_linux_alone(macos):
    memory.keep_freed_memory()
    memory.return_freed_memory()


@pytest.mark.parametrize("lacking", [Library(), None])
def test_another_c_library_is_left_alone(monkeypatch, lacking):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: lacking)
    memory.keep_freed_memory()
    memory.return_freed_memory()
    assert server._die_with_parent() is None


def test_a_child_is_not_tied_to_its_parent_where_the_system_cannot(macos):
    assert server._die_with_parent() is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux can")
def test_and_is_where_it_can():
    # The kernel says which signal a process gets when its parent ends.
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        server._die_with_parent()()
        told = ctypes.c_int()
        ctypes.CDLL(None).prctl(2, ctypes.byref(told))
        os.write(write, bytes([told.value]))
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 1)[0] == signal.SIGTERM


@pytest.mark.slow
@pytest.mark.parametrize("cluster", ["threads", "local"])
def test_a_whole_run_without_what_other_systems_lack(environment, tmp_path, cluster):
    (tmp_path / "sitecustomize.py").write_text(SHORN.format(names=NAMES, symbols=SYMBOLS))
    (tmp_path / "tiny.toml").write_text(recipe_text(tmp_path / "root"))
    paths = f"{tmp_path}:{environment['PYTHONPATH']}:{Path(__file__).parents[1] / 'helpers'}"
    command = Command({**environment, "PYTHONPATH": paths}, fresh=True)
    found = command.json("mine", tmp_path / "tiny.toml", "--set", f"compute.cluster={cluster}")
    assert found["counts"]["rosetta"] > 0

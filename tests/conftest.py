"""Shared settings: deterministic property tests, one thread a process, and the tests' own helpers on the path."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser

sys.path[:0] = [str(Path(__file__).parent / "helpers"), str(Path(__file__).parents[1] / "docs")]

# Before torch is imported, and for every process that a test starts. Workers of pytest fill the cores, and threads of
# OpenMP that wait for a core spin: two workers of two threads each on two cores take several times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("repeatable", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("repeatable")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast tests first: a slip shows within seconds. Flows last: their files are many, and the last ones small."""
    items.sort(key=lambda item: (item.get_closest_marker("slow") is not None, "flows" in item.path.parts))


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Name what fails when it fails: a run that is cut short never comes to its summary."""
    if report.failed and "PYTEST_XDIST_WORKER" not in os.environ:
        print(f"\n{report.when} of {report.nodeid} failed", flush=True)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all workers of a session."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """A headless Chromium; no longer than a module, as Playwright keeps an event loop running that flows would meet."""
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed, so the page is not opened")
    # Here, so that all other tests also run on a machine without it.
    from playwright.sync_api import Error, sync_playwright

    with sync_playwright() as playwright:
        try:
            opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        except Error as error:
            pytest.skip(f"Chromium does not start here: {error}")
        yield opened
        opened.close()

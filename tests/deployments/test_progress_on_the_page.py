"""Long stages say on the page of their run how far they are."""

import asyncio
import threading
import time

import pytest
from prefect import flow
from prefect.settings import PREFECT_API_URL, temporary_settings

from storage.filesystem.root import Root
from tasks.cluster.reports import Report
from tasks.stage import prefect_page as run_page
from tasks.stage.progress import track
from tasks.stage.stage import stage
from tasks.stage.workers import collecting

pytestmark = pytest.mark.slow


@pytest.fixture
def here(prefect, monkeypatch):
    """This process reports to the server, often."""
    monkeypatch.setattr(run_page, "EVERY", 0.2)
    with temporary_settings({PREFECT_API_URL: prefect.environment["PREFECT_API_URL"]}):
        yield prefect


def of_last_run(prefect, name: str) -> list[dict]:
    """Progress artifacts of the last run of a flow."""
    run = prefect.runs(flow=name)[-1]
    return [one for one in prefect.artifacts_of(run) if one["type"] == "progress"]


def test_progress_is_told_from_threads_and_from_event_loops_and_ends_at_all(here):
    progress: list[float] = []

    @stage("long {name}")
    def long(name: str) -> str:
        with track(f"dump {name}", 4) as advance:
            advance(1)

            async def on_a_loop() -> None:
                advance(1)

            for work in (lambda: asyncio.run(on_a_loop()), lambda: advance(1)):
                thread = threading.Thread(target=work)
                thread.start()
                thread.join()
            deadline = time.monotonic() + 30
            while not progress and time.monotonic() < deadline:
                time.sleep(0.1)
                progress.extend(one["data"] for one in of_last_run(here, "telling"))
            advance(1)
        return "done"

    @flow(name="telling")
    def telling() -> None:
        long("ada")

    telling()
    assert progress == [75.0]
    (artifact,) = of_last_run(here, "telling")
    assert artifact["data"] == 100.0
    assert artifact["description"] == "dump ada"
    assert artifact["task_run_id"] is not None


def test_the_page_shows_what_each_worker_does_while_it_does(here, tmp_path):
    descriptions: list[str] = []

    @stage("long {name}")
    def long(name: str) -> str:
        with collecting(Root(str(tmp_path))) as collector, track(f"dump {name}", 4) as advance:
            collector.take(Report("ada", 3, 0.5, "cuda:0 NVIDIA H100", "tcp://10.0.0.1:9"))
            advance(3)
            deadline = time.monotonic() + 30
            while not descriptions and time.monotonic() < deadline:
                time.sleep(0.1)
                descriptions.extend(one["description"] for one in of_last_run(here, "watched"))
        return "done"

    @flow(name="watched")
    def watched() -> None:
        long("ada")

    watched()
    assert descriptions[0].startswith("dump ada: 3 of 4 images, 6.0 a second, about 0 s left")
    assert "| tcp://10.0.0.1:9 | cuda:0 NVIDIA H100 | ada | 3 | 6.0 |" in descriptions[0]
    assert of_last_run(here, "watched")[0]["description"] == "dump ada"


def test_what_is_short_leaves_nothing(here):
    @flow(name="short")
    def short() -> None:
        with track("dump ada", 2) as advance:
            advance(2)

    short()
    assert of_last_run(here, "short") == []


def test_an_api_that_fails_does_not_fail_the_work(here, monkeypatch):
    asked = threading.Event()

    def refuses(*_, **__):
        asked.set()
        raise OSError("gone")

    monkeypatch.setattr("prefect.artifacts.create_progress_artifact", refuses)

    @flow(name="unheard")
    def unheard() -> str:
        with track("dump ada", 2) as advance:
            advance(1)
            assert asked.wait(30)
            advance(1)
        return "done"

    assert unheard() == "done"
    assert of_last_run(here, "unheard") == []

"""`make bench ONLY=page`: how long the dictionary's page takes to write and to open, and how large it is."""

import shutil
import statistics
import time
from pathlib import Path

from faces import folder_bytes, mine
from figures import BENCH, clear, figure, in_turn, report, require, timed
from large_run import CONCEPTS, RECIPE, UNITS, write_run
from playwright.sync_api import Browser, Page, sync_playwright

from rosetta.view.atlas.page import render
from storage.artifacts.provenance import stored_recipe
from storage.filesystem.root import Root
from tasks.report.atlas.run import AtlasRun
from tasks.report.atlas.write import write_atlas
from tasks.stage.memory import keep_freed_memory

REPEATS = 3
OPENINGS = 7
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
SEEN = "() => document.querySelectorAll('.card').length >= 12"
SCROLLED = """async () => {
    const frames = [];
    const end = document.documentElement.scrollHeight;
    let before = performance.now();
    for (let y = 0; y < end; y += 450) {
        scrollTo(0, y);
        await new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));
        frames.push(performance.now() - before);
        before = performance.now();
    }
    return frames;
}"""


def write_page(root: Root) -> None:
    """The atlas and its shell, anew; without the page about trust, which asks for profiles of the units."""
    shutil.rmtree(root.local / "report", ignore_errors=True)
    recipe = stored_recipe(root) or RECIPE
    told = write_atlas(AtlasRun.of(root, recipe), "bench")
    root.write_bytes("report/index.html", render(told).encode())


def opened(browser: Browser, page: Path, view: str) -> tuple[float, Page]:
    """Seconds from the address to twelve cards and the first picture, in a window without a cache; and the window."""
    window = browser.new_page(viewport={"width": 1400, "height": 900})
    began = time.perf_counter()
    with window.expect_event("requestfinished", lambda request: request.url.endswith(".webp")):
        window.goto(f"{page.as_uri()}#/{view}")
    window.wait_for_function(SEEN)
    return time.perf_counter() - began, window


def open_seconds(browser: Browser, page: Path, view: str) -> float:
    """The median of some openings."""
    found = []
    for _ in range(OPENINGS + 1):
        seconds, window = opened(browser, page, view)
        window.close()
        found.append(seconds)
    return statistics.median(found[1:])


def before_picture(browser: Browser, page: Path) -> int:
    """Bytes that are loaded before the first picture."""
    window = browser.new_page()
    asked: list[str] = []
    window.on("request", lambda request: asked.append(request.url))
    with window.expect_event("requestfinished", lambda request: request.url.endswith(".webp")):
        window.goto(page.as_uri())
    window.close()
    first = next(place for place, url in enumerate(asked) if url.endswith(".webp"))
    files = {Path(url.removeprefix("file://").partition("#")[0]) for url in asked[:first] if url.startswith("file:")}
    return sum(file.stat().st_size for file in files)


def main() -> None:
    """Measure, write bench.json, print the table."""
    require(
        CHROMIUM, "there is no Chromium to open the page in; install chromium or google-chrome, as make bench tries to"
    )
    BENCH.mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    clear("page-large")
    faces, large = Root(str(mine("page-faces", 512)[0])), Root(str(BENCH / "page-large"))
    write_run(large)
    (faces_write,) = in_turn(REPEATS, lambda: timed(lambda: write_page(faces)))
    (large_write,) = in_turn(1, lambda: timed(lambda: write_page(large)))
    pages = [root.local / "report" / "index.html" for root in (faces, large)]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        of_faces, of_large = (open_seconds(browser, page, "overview") for page in pages)
        concepts = open_seconds(browser, pages[1], "concepts")
        before = before_picture(browser, pages[1]) / 1000
        _, window = opened(browser, pages[1], "concepts")
        frames = sorted(window.evaluate(SCROLLED))
        browser.close()
    tenth = frames[int(0.99 * len(frames))]
    figures = {
        "report_write_seconds_faces": figure(faces_write, "s"),
        "report_open_seconds_faces": figure(of_faces, "s"),
        "report_megabytes_faces": figure(folder_bytes(faces.local / "report") / 1e6, "MB"),
        "report_write_seconds": figure(large_write, "s"),
        "report_megabytes": figure(folder_bytes(large.local / "report") / 1e6, "MB"),
        "report_open_seconds": figure(of_large, "s", "≤ 2", of_large <= 2),
        "report_open_concepts_seconds": figure(concepts, "s", "≤ 2", concepts <= 2),
        "report_kilobytes_before_picture": figure(before, "kB", "≤ 200", before <= 200),
        "report_scroll_median_ms": figure(statistics.median(frames), "ms"),
        "report_scroll_99_ms": figure(tenth, "ms", "≤ 50", tenth <= 50),
    }
    clear("page-faces", "page-large")
    units = sum(len(held) for held in UNITS.values())
    report(f"page, {units:,} units, {CONCEPTS:,} concepts, {len(UNITS)} models; and the faces", figures)


if __name__ == "__main__":
    main()

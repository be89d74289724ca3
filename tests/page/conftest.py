"""The made-up atlas in a browser."""

from dataclasses import dataclass

import pytest
from atlas_names import write_named
from atlas_page import write
from playwright.sync_api import Page


@dataclass
class Opened:
    """A page of the atlas, watched: whatever a test does there may neither complain nor leave the folder."""

    page: Page
    address: str
    requests: list[str]
    """What was asked for, in order."""

    def go(self, place: str) -> Page:
        """To a place of the atlas, as one who was sent its address."""
        self.page.goto("about:blank")
        self.page.goto(f"{self.address}#/{place}")
        self.page.wait_for_selector("main:not([aria-busy]) .view > *")
        return self.page


@pytest.fixture(scope="session")
def address(tmp_path_factory):
    return write(tmp_path_factory.mktemp("atlas")).as_uri()


@pytest.fixture(scope="session")
def named_address(tmp_path_factory):
    return write_named(tmp_path_factory.mktemp("named")).as_uri()


@pytest.fixture
def named(atlas, named_address):
    """The atlas with names, words and notes."""
    atlas.address = named_address
    return atlas


@pytest.fixture
def atlas(browser, address):
    page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
    page.set_default_timeout(15000)
    requests, complaints = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    opened = Opened(page, address, requests)
    yield opened
    hacked = page.evaluate("window.hacked")
    page.close()
    assert complaints == []
    assert hacked is None, "a name was executed"
    folder = opened.address.rpartition("/")[0]
    strangers = [url for url in requests if not url.startswith((folder, "data:", "blob:", "about:"))]
    assert strangers == []

"""A running explorer, and a browser to look at it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from explorer import drawn, started


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    """The address of an explorer that runs."""
    process, url = started()
    yield url
    process.kill()
    process.communicate()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless browser."""
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright (pip install playwright)")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("needs a chromium (apt-get install chromium)")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Any, url: str) -> Iterator[Callable[[], Any]]:
    """Opens the page, as wide as asked, once its first flow is drawn."""
    pages = []

    def visit(width: int = 1280) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900})
        pages.append(context)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        page = context.new_page()
        page.goto(url)
        drawn(page, 0)
        return page

    yield visit
    for context in pages:
        context.close()

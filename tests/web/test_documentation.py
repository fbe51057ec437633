"""The documentation site in a browser: its diagrams are drawn, and nothing is asked of another host."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.docs_site import build_site

pytestmark = pytest.mark.web


class Quiet(SimpleHTTPRequestHandler):
    """Says nothing of each request."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the site is served."""
    site: Path = build_site(tmp_path_factory.mktemp("docs"))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("name", "diagrams"), [("protocol", 13), ("lifecycle", 1), ("zh-TW/index", 1), ("quick-start", 0)]
)
def test_diagrams_are_drawn_and_no_other_host_is_asked(
    browser: Browser, address: str, name: str, diagrams: int
) -> None:
    page = browser.new_page()
    page.set_default_timeout(90_000)
    asked: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{address}/{name}.html", wait_until="load")
    expect(page.locator("div.mermaid")).to_have_count(diagrams, timeout=90_000)
    expect(page.locator("pre.mermaid")).to_have_count(0, timeout=90_000)
    page.get_by_placeholder("Search" if "zh" not in name else "搜尋").first.fill("fence")
    expect(page.locator(".md-search-result__item").first).to_be_attached(timeout=90_000)
    page.close()
    assert asked
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
    assert errors == []

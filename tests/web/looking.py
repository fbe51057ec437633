"""What tests look at: complaints of the browser, accessibility, and how fast something is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import ConsoleMessage, Page

AXE = Path(__file__).with_name("vendor") / "axe-core" / "axe.min.js"
#: The levels of the guidelines that are held.
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


class Complaints:
    """Script errors and what the browser says on its console."""

    def __init__(self, page: Page) -> None:
        self._found: list[str] = []
        page.on("pageerror", lambda error: self._found.append(f"script error: {error}"))
        page.on("console", self._console)

    def of_the_page(self) -> list[str]:
        """Return those that the page itself is to blame for."""
        return list(self._found)

    def _console(self, message: ConsoleMessage) -> None:
        # Answers with an error status, and a server that is away, are told by the page itself.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self._found.append(message.text)


def accessibility_problems(page: Page) -> list[str]:
    """Return what axe finds wrong on the page as it is now, a line each."""
    # Not as a script element: the page's own policy would refuse that.
    page.evaluate(AXE.read_text(encoding="utf-8"))
    result: dict[str, Any] = page.evaluate(
        "(rules) => axe.run(document, {runOnly: {type: 'tag', values: rules}})", RULES
    )
    return [
        f"{found['id']}: {node['html'][:160]} ({node['failureSummary']})"
        for found in result["violations"]
        for node in found["nodes"]
    ]


def overflow_px(page: Page) -> int:
    """Return by how much the page is wider than its window."""
    root = "document.documentElement"
    width: int = page.evaluate(f"{root}.scrollWidth - {root}.clientWidth")
    return width

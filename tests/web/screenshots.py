"""Take the pictures of the page in docs/img: real workers, a simulated market, a real browser."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Browser, Page, sync_playwright

from cli.stack.stack import ROOT
from metrics import families
from metrics.directory import read_sums
from tests.acceptance.simulated_exchange import LIST_OPEN, fault
from tests.acceptance.world import eventually
from tests.web.desk import INSTANCES, PASSWORD, Desk, launch, open_desk

FOLDER = ROOT / "docs" / "img"
#: A chart with nothing in it explains nothing.
TRADE_S = 75.0
WIDE = {"width": 1280, "height": 800}
#: Limits, what a stop does, and what a check has found, at once.
HIGH = 1200
#: Rows come once a second: by then they say what a stop that has ended says.
ROWS_MS = 1500
PHONE = {"width": 390, "height": 844}
Theme = Literal["light", "dark"]
#: Beside those of the tests, for a list that looks like a desk's.
MORE: Mapping[str, Mapping[str, Any]] = {
    "bp_sol_perp_03": {
        "symbol": "SOL_USDC_PERP",
        "spread": "0.15",
        "quantity": "0.2",
        "max_position": "5",
        "interval": "5",
    },
    "bp_sol_wide_04": {"spread": "0.8", "quantity": "0.3", "interval": "5"},
    "bp_eth_wide_05": {"symbol": "ETH_USDC", "spread": "1", "quantity": "0.02", "interval": "5"},
    "bp_sol_06": {"spread": "0.3", "quantity": "0.2", "interval": "5"},
}
#: Neither started nor changed.
RESTING = ("bp_btc_07", "bp_sol_08")


def main() -> None:
    """Take all of them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="pictures-") as folder,
        open_desk(Path(folder)) as desk,
        sync_playwright() as playwright,
    ):
        browser = launch(playwright)
        try:
            begin_trading(desk)
            time.sleep(TRADE_S)
            take_all(browser, desk)
            refused = refused_by_budget(desk)
        finally:
            desk.world.exchange.clear_faults()
            browser.close()
            desk.world.close()
    if refused:
        sys.exit(
            f"{refused:g} requests were beyond the account's budget, and a page may say so: calm the desk"
        )


def refused_by_budget(desk: Desk) -> float:
    """Return how many requests were not made since the account's budget was used up."""
    counted = read_sums(desk.world.stack.options.run_dir / "metrics")
    return sum(
        values[0]
        for key, values in counted.items()
        if key[0] == families.REQUESTS_FAILED.name and key[-1] == "own_budget"
    )


def begin_trading(desk: Desk) -> None:
    """Start some instances, and let one be paused."""
    for name in INSTANCES:
        desk.configure(name)
    for name, chosen in MORE.items():
        configure(desk, name, **chosen)
    for name in RESTING:
        configure(desk, name, spread="0.4", quantity="0.1")
    for name in (*INSTANCES, *MORE):
        desk.world.start(name)


def configure(desk: Desk, name: str, *, symbol: str = "SOL_USDC", **strategy: Any) -> None:
    """Write an instance's file."""
    is_perpetual = symbol.endswith("_PERP")
    desk.world.configure(name, **strategy)
    path = desk.world.config_dir / f"{name}.json"
    content = json.loads(path.read_text())
    content["metadata"].update(symbol=symbol, market_type="perp" if is_perpetual else "spot")
    if is_perpetual:
        del content["strategy_config"]["enable_rebalance"]
    path.write_text(json.dumps(content))


@contextmanager
def signed_in(
    browser: Browser, desk: Desk, theme: Theme, *, phone: bool = False, language: str = "en-US"
) -> Iterator[Page]:
    """Open the page as somebody who has signed in."""
    size = PHONE if phone else WIDE
    context = browser.new_context(
        locale=language,
        viewport={"width": size["width"], "height": size["height"]},
        color_scheme=theme,
        reduced_motion="reduce",
        is_mobile=phone,
        has_touch=phone,
    )
    page = context.new_page()
    page.goto(desk.web.url)
    page.locator("#password").fill(PASSWORD)
    if not phone:
        # The mark is drawn last.
        page.wait_for_timeout(500)
        take(page, f"page-sign-in-{theme}" if language == "en-US" else "page-sign-in-zh-TW")
    page.keyboard.press("Enter")
    page.locator(".instances tbody tr").first.wait_for()
    yield page
    context.close()


def take(page: Page, name: str, *, whole: bool = False) -> None:
    """Write one picture."""
    page.screenshot(path=FOLDER / f"{name}.png", full_page=whole)


def take_all(browser: Browser, desk: Desk) -> None:
    """Go through the page, in both themes, on a phone, and in Chinese."""
    themes: tuple[Theme, Theme] = ("light", "dark")
    for theme in themes:
        with signed_in(browser, desk, theme) as page:
            pages(page, desk, theme)
    with signed_in(browser, desk, "dark", phone=True) as page:
        page.wait_for_timeout(1500)
        take(page, "page-phone-list")
        instance(page, desk, "bp_sol_01")
        take(page, "page-phone-instance", whole=True)
    with signed_in(browser, desk, "light", language="zh-TW") as page:
        page.wait_for_timeout(1500)
        take(page, "page-list-zh-TW")
        instance(page, desk, "bp_sol_01")
        take(page, "page-instance-zh-TW", whole=True)
    with signed_in(browser, desk, "light") as page:
        stop_all(page)


def instance(page: Page, desk: Desk, name: str, tab: str = "") -> None:
    """Go to an instance, and wait until there is something to see."""
    page.goto(f"{desk.web.url}#/instances/{name}{tab and '/' + tab}")
    page.locator("[role=tabpanel] :is(.panel, .empty, .receipt)").first.wait_for()
    # Enough ticks for own quotes in the chart.
    page.wait_for_timeout(20_000 if not tab else 1500)


def pages(page: Page, desk: Desk, theme: Theme) -> None:
    """Take each page in one theme; the stop is of another instance each time."""
    victim = {"light": "bp_sol_06", "dark": "bp_sol_wide_04"}[theme]
    held_up = "bp_eth_wide_05"
    if theme == "light":
        pause(page, desk, "bp_sol_perp_03")
    page.goto(desk.web.url)
    page.wait_for_timeout(2500)
    take(page, f"page-list-{theme}")
    instance(page, desk, "bp_sol_01")
    take(page, f"page-instance-{theme}", whole=True)
    for tab in ("parameters", "fills", "events"):
        instance(page, desk, "bp_sol_01", tab)
        if tab == "parameters":
            page.get_by_label("quantity", exact=True).fill("0.75")
            page.get_by_role("button", name="Validate").click()
            page.locator(".verdict").wait_for()
        take(page, f"page-{tab}-{theme}")
        if tab == "parameters":
            limits_and_stop(page, theme)
    instance(page, desk, victim, "events")
    page.get_by_role("button", name="Stop …").click()
    take(page, f"page-stop-question-{theme}")
    page.get_by_role("dialog").get_by_role("button", name="Stop", exact=True).click()
    page.locator(".stopping .receipt").wait_for()
    page.wait_for_timeout(ROWS_MS)
    take(page, f"page-stop-{theme}")
    instance(page, desk, victim, "receipts")
    take(page, f"page-receipts-{theme}")
    if theme == "light":
        hold_up(page, desk, held_up)


def limits_and_stop(page: Page, theme: Theme) -> None:
    """Take what stands below the parameters in their form."""
    page.set_viewport_size({"width": WIDE["width"], "height": HIGH})
    page.get_by_role("group", name="Limits").evaluate("group => group.scrollIntoView()")
    take(page, f"page-limits-{theme}")
    page.set_viewport_size({"width": WIDE["width"], "height": WIDE["height"]})


def pause(page: Page, desk: Desk, name: str) -> None:
    """Pause an instance by its button."""
    page.goto(f"{desk.web.url}#/instances/{name}")
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Resume").wait_for()


def hold_up(page: Page, desk: Desk, name: str) -> None:
    """Stop an instance while the exchange does not answer, and picture that."""
    desk.world.exchange.set_faults(fault(LIST_OPEN, "error", status=503))
    page.goto(f"{desk.web.url}#/instances/{name}/events")
    page.get_by_role("button", name="Stop …").click()
    page.get_by_role("dialog").get_by_role("button", name="Stop", exact=True).click()
    page.locator(".stopping [data-kind='bad']").first.wait_for(timeout=60_000)
    page.wait_for_timeout(ROWS_MS)
    take(page, "page-stop-held-up-light")
    desk.world.exchange.clear_faults()


def stop_all(page: Page) -> None:
    """Stop what is left."""
    button = page.get_by_role("button", name="Stop all")
    eventually(lambda: button.is_enabled(), what="running instances")
    count = button.inner_text().split()[-1]
    button.click()
    page.get_by_role("dialog").get_by_role("textbox").fill(count)
    take(page, "page-stop-all-question-light")
    page.get_by_role("dialog").get_by_role("button", name="Stop all").click()
    page.locator(".stop-all[data-ending='clean']").wait_for(timeout=60_000)
    page.wait_for_timeout(ROWS_MS)
    take(page, "page-stop-all-light")


if __name__ == "__main__":
    main()

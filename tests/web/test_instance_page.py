"""The life of one instance on its page: started, watched, edited, stopped, with a receipt at the end."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from state.record import Phase
from tests.acceptance.simulated_exchange import CANCEL_ONE, LIST_OPEN, fault
from tests.acceptance.world import eventually
from tests.web.desk import Desk

pytestmark = pytest.mark.web

NAME = "bp_sol_01"


def open_instance(page: Page, desk: Desk, tab: str = "") -> None:
    page.goto(f"{desk.web.url}#/instances/{NAME}{tab and '/' + tab}")
    expect(page.get_by_role("heading", name=NAME, exact=True)).to_be_visible()


def stop_by_button(page: Page, policy: str = "As configured") -> None:
    page.get_by_role("button", name="Stop …").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label(policy, exact=True).check()
    dialog.get_by_label("Reason").fill("end of the day")
    dialog.get_by_role("button", name="Stop", exact=True).click()


def test_start_watch_and_stop_with_a_receipt(page: Page, desk: Desk) -> None:
    desk.configure(NAME)
    page.goto(desk.web.url)
    page.get_by_role("link", name=NAME).click()
    page.get_by_role("button", name="Start", exact=True).click()
    desk.world.started.append(NAME)
    expect(page.locator(".head .state")).to_have_text("Running")

    own = page.locator(".ladder tr[data-own='true']")
    expect(own.first).to_be_visible()

    def quotes() -> list[str]:
        return own.locator("th").all_inner_texts()

    before = quotes()
    eventually(lambda: quotes() not in ([], before), what="another ladder of own quotes")

    stop_by_button(page)
    panel = page.get_by_role("region", name="Stop, phase by phase")
    receipt = page.get_by_role("article", name=re.compile("Receipt of run"))
    expect(receipt).to_be_visible()
    phases = panel.locator(":scope > .log .name").all_inner_texts()
    assert phases[0] == "stop requested", phases
    assert phases[-1] == "stopped", phases
    assert {"cleanup claimed", "cancels sent", "fence passed", "verified"} <= set(phases)
    expect(receipt).to_contain_text("Stopped clean")
    expect(receipt).to_contain_text("end of the day")
    expect(receipt).to_contain_text("0, by the exchange's own word")
    expect(page.locator(".head .state")).to_have_text("Stopped")
    assert desk.world.exchange.open_order_ids(slot=desk.world.slot(NAME)) == set()
    expect(page.get_by_role("button", name="Start", exact=True)).to_be_visible()


def test_a_stop_that_is_held_up_says_so_and_goes_on(page: Page, desk: Desk) -> None:
    desk.run(NAME)
    open_instance(page, desk)
    desk.world.exchange.set_faults(fault(LIST_OPEN, "error", status=503))
    stop_by_button(page)
    panel = page.get_by_role("region", name="Stop, phase by phase")
    expect(panel.locator("[data-kind='bad']").first).to_be_visible()
    expect(page.get_by_role("article")).to_have_count(0)
    desk.world.exchange.clear_faults()
    expect(page.get_by_role("article", name=re.compile("Receipt"))).to_contain_text("Stopped clean")


def started_over(page: Page) -> bool:
    """Accept what the question names; False where something else was left by the time of the answer."""
    page.get_by_role("button", name="Start anyway …").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(re.compile(r"\d+ orders left: \d|Nobody knows which orders are left"))
    dialog.get_by_role("button", name="Accept and start").click()
    refusal = dialog.locator(".problem")
    # The start looks at the exchange first, which takes its time where requests fail. Gone, or refused:
    eventually(lambda: refusal.all_inner_texts() != [""], 40, what="an answer")
    if dialog.count() == 0:
        return True
    dialog.get_by_role("button", name="Cancel").click()
    return False


def test_a_failed_stop_is_begun_over_only_by_who_sees_what_it_left(page: Page, desk: Desk) -> None:
    desk.run(NAME)
    epoch = desk.world.record(NAME).epoch
    desk.world.exchange.set_faults(fault(CANCEL_ONE, "error", status=503))
    open_instance(page, desk)
    stop_by_button(page)
    expect(page.locator(".head .state")).to_have_text("Failed", timeout=90_000)
    panel = page.get_by_role("region", name="Stop, phase by phase")
    expect(panel.get_by_text("not clean yet").first).to_be_visible()
    eventually(lambda: started_over(page), 80, what="a start over what is left")
    eventually(lambda: desk.world.record(NAME).epoch > epoch, what="the next run")
    desk.world.exchange.clear_faults()


def test_a_stop_by_somebody_else_is_shown_to_whoever_comes_later(page: Page, desk: Desk) -> None:
    desk.run(NAME)
    open_instance(page, desk)
    desk.world.stop(NAME)
    expect(page.get_by_role("article", name=re.compile("Receipt"))).to_contain_text("Stopped clean")
    page.reload()
    page.get_by_role("tab", name="Receipts").click()
    run = f"Receipt of run {desk.world.record(NAME).epoch}"
    expect(page.get_by_role("article", name=run, exact=True)).to_contain_text("Stopped clean")


def test_pause_takes_the_quotes_away_and_resume_brings_them_back(page: Page, desk: Desk) -> None:
    desk.run(NAME)
    open_instance(page, desk)
    page.get_by_role("button", name="Pause").click()
    expect(page.locator(".head .state")).to_have_text("Paused")
    slot = desk.world.slot(NAME)
    eventually(lambda: not desk.world.exchange.open_order_ids(slot=slot), what="withdrawn quotes")
    expect(page.locator(".ladder tr[data-own='true']")).to_have_count(0)
    page.get_by_role("button", name="Resume").click()
    expect(page.locator(".head .state")).to_have_text("Running")
    eventually(lambda: desk.world.exchange.open_order_ids(slot=slot), what="quotes")


def test_restart_ends_one_run_and_begins_the_next(page: Page, desk: Desk) -> None:
    desk.run(NAME)
    epoch = desk.world.record(NAME).epoch
    open_instance(page, desk)
    page.get_by_role("button", name="Restart").click()
    eventually(lambda: desk.world.record(NAME).epoch > epoch, 40, what="the next run")
    expect(page.locator(".head .state")).to_have_text("Running")
    assert desk.world.record(NAME).phase is Phase.RUNNING


def test_fills_and_events_are_listed(page: Page, desk: Desk) -> None:
    desk.run(NAME)
    open_instance(page, desk, "fills")
    fills = page.get_by_role("region", name="Fills")
    expect(fills.locator("tbody tr").first).to_be_visible(timeout=60_000)
    assert re.search(r"(buy|sell)\s+1[45]\d\.", fills.locator("tbody tr").first.inner_text())
    page.get_by_role("tab", name="Events").click()
    expect(page.get_by_role("region", name="Events")).to_contain_text("started")

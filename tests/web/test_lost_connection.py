"""A server that goes away, and comes back: the page says so, and goes on by itself."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.web.desk import Desk

pytestmark = pytest.mark.web


def test_the_banner_comes_and_goes_and_nothing_is_missed(page: Page, desk: Desk) -> None:
    desk.run("bp_sol_01")
    row = page.get_by_role("row", name=re.compile("bp_sol_01"))
    expect(row).to_contain_text("Running")
    banner = page.get_by_role("alert").filter(has_text="Connection lost")
    expect(banner).to_be_hidden()

    desk.web.kill()
    try:
        expect(banner).to_be_visible()
        expect(page.locator(".link")).to_have_text("Connection lost")
        desk.world.stop("bp_sol_01")
    finally:
        desk.web.start()
    expect(banner).to_be_hidden()
    expect(page.locator(".link")).to_have_text("Live")
    expect(row).to_contain_text("Stopped")


def test_a_stop_that_ended_meanwhile_shows_all_its_phases(page: Page, desk: Desk) -> None:
    desk.run("bp_sol_01")
    page.goto(f"{desk.web.url}#/instances/bp_sol_01")
    expect(page.locator(".head .state")).to_have_text("Running")
    desk.web.kill()
    try:
        desk.world.stop("bp_sol_01")
    finally:
        desk.web.start()
    panel = page.get_by_role("region", name="Stop, phase by phase")
    expect(panel.get_by_role("article")).to_contain_text("Stopped clean")
    phases = panel.locator(":scope > .log .name").all_inner_texts()
    assert phases[0] == "stop requested"
    assert phases[-1] == "stopped"
    assert len(phases) == len(set(phases)), "a phase was shown twice"

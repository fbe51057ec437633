"""Light and dark, two languages, a phone, a keyboard, a screen reader."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.web.desk import PASSWORD, Desk
from tests.web.looking import accessibility_problems, overflow_px

pytestmark = pytest.mark.web

TABS = ("market", "parameters", "fills", "events", "receipts")


def background(page: Page) -> str:
    found: str = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_an_accessibility_problem(page: Page, desk: Desk, scheme: str) -> None:
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
    desk.run("bp_sol_01")
    desk.configure("bp_eth_02")
    page.get_by_text("bp_eth_02").wait_for()
    problems = {"list": accessibility_problems(page)}
    for tab in TABS:
        page.goto(f"{desk.web.url}#/instances/bp_sol_01/{tab}")
        page.locator("[role=tabpanel] :is(.panel, .empty, .receipt)").first.wait_for()
        problems[tab] = accessibility_problems(page)
    page.get_by_role("button", name="Stop …").click()
    problems["question"] = accessibility_problems(page)
    page.get_by_role("dialog").get_by_role("button", name="Stop", exact=True).click()
    page.locator(".stopping .receipt").wait_for()
    problems["receipt"] = accessibility_problems(page)
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("Password").wait_for()
    problems["signing in"] = accessibility_problems(page)
    assert {where: found for where, found in problems.items() if found} == {}


def test_the_theme_follows_the_system_until_one_is_chosen(page: Page) -> None:
    page.emulate_media(color_scheme="light")
    light = background(page)
    page.emulate_media(color_scheme="dark")
    dark = background(page)
    assert light != dark
    button = page.get_by_role("button", name="Theme")
    button.click()
    expect(button).to_have_text("Theme: Light")
    assert background(page) == light
    page.reload()
    expect(button).to_have_text("Theme: Light")
    assert background(page) == light


def test_the_language_can_be_changed_and_stays(page: Page) -> None:
    page.get_by_role("button", name="正體中文").click()
    expect(page.get_by_role("heading", name="實例")).to_be_visible()
    assert page.evaluate("document.documentElement.lang") == "zh-Hant-TW"
    page.reload()
    expect(page.get_by_role("heading", name="實例")).to_be_visible()
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("heading", name="Instances")).to_be_visible()


def test_a_browser_in_chinese_is_answered_in_chinese(browser: Browser, desk: Desk) -> None:
    context = browser.new_context(locale="zh-TW")
    page = context.new_page()
    page.goto(desk.web.url)
    expect(page.get_by_role("heading", name="登入")).to_be_visible()
    context.close()


def test_nothing_is_cut_off_on_a_phone(browser: Browser, desk: Desk) -> None:
    desk.run("bp_sol_01")
    context = browser.new_context(
        locale="en-US", viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True
    )
    page = context.new_page()
    page.goto(desk.web.url)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").tap()
    page.get_by_role("link", name="bp_sol_01").wait_for()
    wide = {"list": overflow_px(page)}
    for tab in TABS:
        page.goto(f"{desk.web.url}#/instances/bp_sol_01/{tab}")
        page.locator("[role=tabpanel] :is(.panel, .empty, .receipt)").first.wait_for()
        wide[tab] = overflow_px(page)
    page.get_by_role("button", name="Stop …").tap()
    page.get_by_role("dialog").get_by_role("button", name="Stop", exact=True).tap()
    page.locator(".stopping .receipt").wait_for()
    wide["receipt"] = overflow_px(page)
    context.close()
    assert {where: px for where, px in wide.items() if px > 0} == {}


def test_a_stop_needs_no_mouse(page: Page, desk: Desk) -> None:
    desk.run("bp_sol_01")
    page.get_by_role("link", name="bp_sol_01").focus()
    page.keyboard.press("Enter")
    stop = page.get_by_role("button", name="Stop …")
    stop.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(stop).to_be_focused()
    page.keyboard.press("Enter")
    dialog.get_by_label("Reason").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".stopping .receipt")).to_contain_text("Stopped clean")
    phases = page.get_by_role("log")
    expect(phases).to_have_attribute("aria-live", "polite")

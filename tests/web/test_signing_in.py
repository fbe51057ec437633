"""Nobody sees anything without the password."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.web.desk import PASSWORD

pytestmark = pytest.mark.web


def test_a_wrong_password_is_told_and_the_right_one_leads_on(visitor: Page) -> None:
    field = visitor.get_by_label("Password")
    expect(field).to_be_focused()
    field.fill("not this one")
    field.press("Enter")
    expect(visitor.get_by_role("alert").filter(has_text="not the password")).to_be_visible()

    field.fill(PASSWORD)
    field.press("Enter")
    expect(visitor.get_by_role("heading", name="Instances")).to_be_visible()
    expect(visitor.locator(".link")).to_have_text("Live")


def test_signing_out_leaves_nothing_on_the_screen(page: Page) -> None:
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Password")).to_be_visible()
    page.reload()
    expect(page.get_by_label("Password")).to_be_visible()
    expect(page.get_by_role("heading", name="Instances")).to_have_count(0)


def test_everything_comes_from_this_server(page: Page) -> None:
    addresses: list[str] = page.evaluate("performance.getEntriesByType('resource').map((each) => each.name)")
    assert len(addresses) > 10
    own = page.evaluate("location.origin")
    assert [address for address in addresses if not address.startswith(own)] == []


def test_an_upgrade_is_never_half_seen(page: Page) -> None:
    caching: list[str] = page.evaluate(
        """async () => Promise.all(["/", "/js/app.js", "/i18n/en.json"].map(
          async (path) => (await fetch(path)).headers.get("cache-control")))"""
    )
    assert caching == ["no-cache"] * 3

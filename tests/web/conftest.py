"""A real browser in front of a real web process, on a real stack with a market that moves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from cli.stack.valkey import ServerNotFound
from tests.acceptance.conftest import skip_or_fail
from tests.web.desk import PASSWORD, Desk, NoBrowser, launch, open_desk
from tests.web.looking import Complaints

#: Generous: a deadline only decides how long a broken page is waited for.
LONGEST_MS = 60_000
expect.set_options(timeout=LONGEST_MS)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium as the system has it."""
    with sync_playwright() as playwright:
        try:
            browser = launch(playwright)
        except NoBrowser as error:
            pytest.fail(str(error))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def shared_desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """One stack for all tests of the page."""
    try:
        with open_desk(tmp_path_factory.mktemp("desk")) as desk:
            yield desk
    except ServerNotFound as error:
        skip_or_fail(error)


@pytest.fixture
def desk(shared_desk: Desk) -> Iterator[Desk]:
    """The stack with nothing running, and no instance file."""
    yield shared_desk
    shared_desk.world.close()
    shared_desk.world.started.clear()
    for file in shared_desk.world.config_dir.glob("*.json"):
        file.unlink()


@pytest.fixture
def visitor(browser: Browser, desk: Desk) -> Iterator[Page]:
    """The page before anybody has signed in. A script error or a breach of the policy fails the test."""
    context = browser.new_context(locale="en-US", viewport={"width": 1400, "height": 900})
    context.set_default_timeout(LONGEST_MS)
    page = context.new_page()
    complaints = Complaints(page)
    page.goto(desk.web.url)
    yield page
    context.close()
    assert complaints.of_the_page() == []


@pytest.fixture
def page(visitor: Page) -> Page:
    """The page with somebody signed in."""
    visitor.get_by_label("Password").fill(PASSWORD)
    visitor.get_by_role("button", name="Sign in").click()
    visitor.get_by_role("heading", name="Instances").wait_for()
    return visitor

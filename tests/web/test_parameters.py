"""The form of the parameters: a dry run, a new version, and what is refused."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import Page, expect

from tests.acceptance.world import eventually
from tests.web.desk import Desk
from tests.web.test_instance_page import NAME, open_instance

pytestmark = pytest.mark.web


def test_validate_changes_nothing_and_apply_does(page: Page, desk: Desk) -> None:
    desk.run(NAME)
    file = desk.world.config_dir / f"{NAME}.json"
    before = file.read_text()
    open_instance(page, desk, "parameters")
    quantity = page.get_by_label("quantity", exact=True)
    expect(quantity).to_have_value("0.5")
    apply = page.get_by_role("button", name=re.compile("^Apply"))
    expect(apply).to_be_disabled()

    quantity.fill("0.25")
    page.get_by_role("button", name="Validate").click()
    expect(page.locator(".verdict")).to_have_text("Valid. Nothing has been changed yet.")
    expect(page.locator(".result")).to_contain_text("0.5 → 0.25")
    assert file.read_text() == before

    apply.click()
    expect(page.locator(".verdict")).to_contain_text("the next iteration uses it")
    assert json.loads(file.read_text())["strategy_config"]["quantity"] == "0.25"
    page.get_by_role("tab", name="Market").click()
    expect(page.locator(".ladder tr[data-own='true'] .own").first).to_contain_text("0.25", timeout=20_000)


def test_a_value_out_of_range_is_told_at_its_field(page: Page, desk: Desk) -> None:
    desk.configure(NAME)
    before = (desk.world.config_dir / f"{NAME}.json").read_text()
    open_instance(page, desk, "parameters")
    spread = page.get_by_label("spread", exact=True)
    spread.fill("-3")
    page.get_by_role("button", name=re.compile("^Apply")).click()
    expect(spread).to_be_focused()
    expect(spread).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#param-spread-problem")).not_to_be_empty()
    assert (desk.world.config_dir / f"{NAME}.json").read_text() == before


def test_a_file_that_was_changed_meanwhile_is_not_overwritten(page: Page, desk: Desk) -> None:
    desk.configure(NAME)
    open_instance(page, desk, "parameters")
    page.get_by_label("quantity", exact=True).fill("0.3")
    file = desk.world.config_dir / f"{NAME}.json"
    content = json.loads(file.read_text())
    content["strategy_config"]["quantity"] = "0.7"
    file.write_text(json.dumps(content))
    page.get_by_role("button", name=re.compile("^Apply")).click()
    expect(page.locator(".sticky .problem")).not_to_be_empty()
    assert json.loads(file.read_text())["strategy_config"]["quantity"] == "0.7"


def test_a_change_that_takes_a_restart_says_so_and_offers_it(page: Page, desk: Desk) -> None:
    desk.world.configure(NAME)
    file = desk.world.config_dir / f"{NAME}.json"
    content = json.loads(file.read_text())
    content["metadata"]["strategy"] = "grid"
    content["strategy_config"] = {
        "grid_lower_price": "100",
        "grid_upper_price": "200",
        "grid_num": 6,
        "order_quantity": "0.1",
        "interval": "0.5",
    }
    file.write_text(json.dumps(content))
    desk.world.start(NAME)
    epoch = desk.world.record(NAME).epoch
    open_instance(page, desk, "parameters")
    page.get_by_label("grid_num", exact=True).fill("8")
    page.get_by_role("button", name=re.compile("^Apply")).click()
    expect(page.locator(".verdict")).to_contain_text("It needs a restart")
    expect(page.locator(".result")).to_contain_text("6 → 8")
    assert desk.world.record(NAME).epoch == epoch
    page.get_by_role("button", name="Restart now").click()
    eventually(lambda: desk.world.record(NAME).epoch > epoch, 40, what="the next run")

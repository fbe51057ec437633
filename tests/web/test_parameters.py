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
    expect(page.locator(".ladder tr[data-own='true'] .own").first).to_contain_text("0.25")


def test_a_value_out_of_range_is_told_at_its_field(page: Page, desk: Desk) -> None:
    desk.configure(NAME)
    before = (desk.world.config_dir / f"{NAME}.json").read_text()
    open_instance(page, desk, "parameters")
    spread = page.get_by_label("spread", exact=True)
    spread.fill("-3")
    page.get_by_role("button", name=re.compile("^Apply")).click()
    expect(spread).to_be_focused()
    expect(spread).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#strategy_config-spread-problem")).not_to_be_empty()
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
    expect(page.locator(".sticky .problem")).to_contain_text("Somebody else has changed this configuration")
    expect(page.get_by_label("quantity", exact=True)).to_have_value("0.3")
    assert json.loads(file.read_text())["strategy_config"]["quantity"] == "0.7"
    page.get_by_role("button", name="Read again").click()
    expect(page.get_by_label("quantity", exact=True)).to_have_value("0.7")


def test_limits_and_what_a_stop_does_are_edited_in_the_same_form(page: Page, desk: Desk) -> None:
    desk.run(NAME)
    epoch = desk.world.record(NAME).epoch
    file = desk.world.config_dir / f"{NAME}.json"
    open_instance(page, desk, "parameters")
    limits = page.get_by_role("group", name="Limits")
    stop = page.get_by_role("group", name="At a stop")
    most = limits.get_by_label("max_open_orders")
    expect(most).to_have_value("")
    most.fill("2")
    stop.get_by_label("orders").select_option("keep")
    page.get_by_role("button", name="Validate").click()
    expect(page.locator(".result li")).to_have_text(
        [re.compile(r"^stop\.orders cancel → keep"), re.compile(r"^limits\.max_open_orders . → 2 next")]
    )
    apply = page.get_by_role("button", name=re.compile("^Apply"))
    apply.click()
    expect(page.locator(".verdict")).to_contain_text("the next iteration uses it")
    content = json.loads(file.read_text())
    assert (content["limits"]["max_open_orders"], content["stop"]["orders"]) == (2, "keep")
    assert desk.world.record(NAME).epoch == epoch

    most.fill("")
    apply.click()
    expect(page.locator(".result")).to_contain_text("limits.max_open_orders 2 → ")
    assert json.loads(file.read_text())["limits"]["max_open_orders"] is None


def test_a_limit_or_a_stop_that_cannot_be_is_refused(page: Page, desk: Desk) -> None:
    desk.configure(NAME)
    before = (desk.world.config_dir / f"{NAME}.json").read_text()
    open_instance(page, desk, "parameters")
    most = page.get_by_role("group", name="Limits").get_by_label("max_open_orders")
    most.fill("0")
    apply = page.get_by_role("button", name=re.compile("^Apply"))
    apply.click()
    expect(most).to_have_attribute("aria-invalid", "true")
    most.fill("")
    stop = page.get_by_role("group", name="At a stop")
    stop.get_by_label("orders").select_option("keep")
    stop.get_by_label("position").select_option("close")
    apply.click()
    expect(page.locator(".sticky .problem")).to_contain_text("would open it again")
    assert (desk.world.config_dir / f"{NAME}.json").read_text() == before


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

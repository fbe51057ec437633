"""docs/protocol.md gives the figures of the settings, and names every rule that a check leaves out."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.config_exchanges import BackpackExchange
from settings import Settings
from tests.integration.test_lifecycle_scripts import BROKEN_RULES as BROKEN_SCRIPTS
from tests.model.variants import BROKEN_RULES, DOUBLED_RULES

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
LEASE_S = Settings.lease_ms / 1000
CLEANUP_LEASE_S = Settings.cleanup_lease_ms / 1000
WINDOW_S = BackpackExchange.model_fields["window_ms"].default / 1000
MARGIN_S = Settings.fence_margin_ms / 1000
GRACE_S = Settings.sweep_grace_ms / 1000
RULES = {
    (row := [cell.strip() for cell in line.strip("|").split("|")])[1].strip("`"): (row[2].strip("`"), row[3])
    for line in PAGE.splitlines()
    if line.count("|") == 5 and not line.startswith("|---")
}


@pytest.mark.parametrize(
    "said",
    [
        f"| lease of an iteration | {LEASE_S:g} s |",
        f"| lease of a cleanup, renewed as it goes | {CLEANUP_LEASE_S:g} s |",
        f"| window: how long the exchange may accept a request | {WINDOW_S:g} s |",
        f"| margin: window and margin make the fence | {MARGIN_S:g} s |",
        f"| grace before something counts as overdue | {GRACE_S:g} s |",
        f"| sweep: a look at what is overdue | every {Settings.sweep_interval_s:g} s at least |",
        f"| a cleanup attempt ends, and the next follows | {Settings.cleanup_soft_limit_s * 0.8:g} s |",
        f"How long: {LEASE_S + GRACE_S + Settings.sweep_interval_s:g} s (lease",
        f"How long: {CLEANUP_LEASE_S + GRACE_S + Settings.sweep_interval_s:g} s (lease",
        f"How long: {WINDOW_S + MARGIN_S:g} s after the permission",
    ],
)
def test_a_figure_is_that_of_the_settings(said: str) -> None:
    assert said in PAGE


def test_every_rule_that_the_model_leaves_out_is_in_the_table_with_what_fails() -> None:
    in_page = {name: failing for name, (failing, _) in RULES.items() if name.isidentifier()}
    in_model = {
        rule.name: f"invariant {rule.fails}" if str(rule.fails).isdigit() else rule.fails
        for rule in BROKEN_RULES
    }
    assert in_page == in_model
    assert all(f"`{rule.name}`" in PAGE for rule in DOUBLED_RULES)


def test_every_rule_that_the_scripts_leave_out_is_in_the_table() -> None:
    assert [rule for rule in BROKEN_SCRIPTS if rule not in PAGE] == []

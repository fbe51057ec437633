"""What `doctor` and `status` say about guards."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from state import keys
from state.guards import READY, SILENT_MS, GuardProcess, Guards
from tests.unit.cli.command_line import Bench

NAME = "bp_sol_01"
ACCOUNT = "backpack-simulated:test"
GUARD = GuardProcess(name="host:1", after_s=30, watched=1, silent=(), accounts={ACCOUNT: READY}, seen_at_ms=0)


def beat(bench: Bench, *, age_ms: int = 0, **more: Any) -> None:
    at_ms = bench.instances.now_ms() - age_ms
    Guards(bench.client).heartbeat(replace(GUARD, seen_at_ms=at_ms, **more))


def checks(bench: Bench) -> list[tuple[str, str]]:
    found = bench.run("doctor", "--json").json["checks"]
    return [(check["level"], check["text"]) for check in found if check["check"] == "guard"]


def go_live(bench: Bench) -> None:
    bench.client.set(keys.config(NAME), json.dumps({"live": True}))


def test_real_money_without_a_guard_is_a_warning_and_simulated_money_is_none(bench: Bench) -> None:
    bench.start(NAME)
    assert [level for level, _ in checks(bench)] == ["ok"]
    go_live(bench)
    ((level, text),) = checks(bench)
    assert level == "warn"
    assert text.startswith("none: ")


def test_a_guard_that_can_act_on_every_account_is_fine(bench: Bench) -> None:
    bench.start(NAME)
    go_live(bench)
    beat(bench)
    assert checks(bench) == [("ok", "host:1 watches 1 instances, acts after 30 s of silence")]


@pytest.mark.parametrize(
    ("accounts", "told"),
    [
        ({ACCOUNT: "no keys"}, f"no guard can act on account {ACCOUNT}; no keys"),
        ({}, "none of them watches it"),
    ],
)
def test_an_account_that_no_guard_can_act_on_is_a_warning(
    bench: Bench, accounts: dict[str, str], told: str
) -> None:
    bench.start(NAME)
    beat(bench, accounts=accounts)
    (_, (level, text)) = checks(bench)
    assert level == "warn"
    assert told in text


def test_a_dead_guard_is_none(bench: Bench) -> None:
    bench.start(NAME)
    go_live(bench)
    beat(bench, age_ms=SILENT_MS + 1_000)
    ((level, text),) = checks(bench)
    assert level == "warn"
    assert text.startswith("none: ")


def test_who_is_silent_or_cannot_be_watched_is_told(bench: Bench) -> None:
    beat(bench, silent=(NAME,))
    assert [(level, "silent now: bp_sol_01" in text) for level, text in checks(bench)] == [("warn", True)]
    beat(bench, unwatchable=(NAME,))
    assert [(level, "cannot watch bp_sol_01" in text) for level, text in checks(bench)] == [("warn", True)]


def test_status_names_the_guards_that_can_act_for_an_instance(bench: Bench) -> None:
    bench.start(NAME)
    assert bench.run("status", NAME, "--json").instance["guards"] == []
    assert "guard                 none" in bench.run("status", NAME).out
    beat(bench)
    assert bench.run("status", NAME, "--json").instance["guards"] == ["host:1"]
    assert "guard                 host:1, acts after 30 s" in bench.run("status", NAME).out
    beat(bench, accounts={ACCOUNT: "no keys"})
    assert bench.run("status", NAME, "--json").instance["guards"] == []

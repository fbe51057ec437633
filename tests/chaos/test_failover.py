"""A short failover drill: the leading server is killed and frozen while ten instances trade."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest

from cli.stack.valkey import ServerNotFound, find_server
from tests.acceptance.world import tell
from tests.chaos.recovery import graver_than_late
from tests.chaos.run import CrashTest, Plan

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SECONDS = float(os.environ.get("FAILOVER_SECONDS", "40"))
FAULTS = ("failover: leader killed", "failover: leader frozen")
#: How late is what the drill measures; others run beside this.
PATIENCE_MS = 60_000


def test_nothing_is_left_or_lost_when_another_server_takes_over(tmp_path: Path) -> None:
    try:
        find_server()
    except ServerNotFound as error:
        if os.environ.get("CLEANBOOK_REQUIRE_SERVICES") == "1":
            pytest.fail(f"CLEANBOOK_REQUIRE_SERVICES is set, but: {error}")
        pytest.skip(str(error))
    seed = int(os.environ.get("CHAOS_SEED") or secrets.randbelow(1_000_000))
    tell(f"seed {seed}, {SECONDS:g} s")
    plan = Plan(seconds=SECONDS, seed=seed, faults=FAULTS, sentinels=True, instances=10)
    evidence, verdict = CrashTest(plan=plan, folder=tmp_path / "chaos", tell=tell).run()
    assert evidence.rounds
    grave = graver_than_late(verdict.violations, PATIENCE_MS)
    assert [f"seed {seed} ({each.rule}) {each.text}" for each in grave] == []

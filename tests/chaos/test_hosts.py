"""Three hosts, and the leader's is cut off from the others while it still reaches the exchange."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.world import tell
from tests.chaos.hosts import CUT_OFF
from tests.chaos.recovery import graver_than_late
from tests.chaos.run import CrashTest, Plan

pytestmark = [pytest.mark.drill, pytest.mark.timeout(600)]

SECONDS = float(os.environ.get("FAILOVER_SECONDS", "40"))
#: `min-replicas-max-lag` of replicated.conf and two seconds of rounding, and the longest way of an order.
GOES_ON_MS = 5_000 + 2_000
#: A stop after a takeover waits 8 s for the fence alone, of the 10 that are judged; others run beside it.
PATIENCE_MS = 60_000


def _may_make_networks() -> bool:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    added = subprocess.run(("ip", "netns", "add", "cbtry"), capture_output=True, check=False)
    subprocess.run(("ip", "netns", "del", "cbtry"), capture_output=True, check=False)
    return added.returncode == 0


def test_a_leader_that_was_replaced_and_goes_on_leaves_no_order_behind(tmp_path: Path) -> None:
    if not _may_make_networks():
        pytest.skip("needs root and `ip netns`")
    seed = int(os.environ.get("CHAOS_SEED") or secrets.randbelow(1_000_000))
    tell(f"seed {seed}, {SECONDS:g} s")
    plan = Plan(seconds=SECONDS, seed=seed, faults=(CUT_OFF,), hosts=True, instances=10)
    evidence, verdict = CrashTest(plan=plan, folder=tmp_path / "chaos", tell=tell).run()
    assert evidence.rounds
    # (c): claims on the side that was cut off are seen by nobody here; they end with that leader.
    unseen = [each for each in verdict.violations if each.rule == "c"]
    grave = graver_than_late(verdict.violations, PATIENCE_MS)
    others = [each for each in grave if each.rule != "c"]
    assert [f"seed {seed} ({each.rule}) {each.text}" for each in others] == []
    for each in unseen:
        begun_ms = max(one.begun_at_ms for one in evidence.rounds if one.begun_at_ms <= each.at_ms)
        # Or somebody claims anew what was claimed there: within a lease of that.
        assert each.at_ms - begun_ms <= GOES_ON_MS + 5_000, f"seed {seed}: {each.text}"

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
#: How late is what the drill measures; others may run beside this.
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
    # Claims on the side that was cut off are seen by nobody here; nothing is sent under them, so (c) holds.
    grave = graver_than_late(verdict.violations, PATIENCE_MS)
    assert [f"seed {seed} ({each.rule}) {each.text}" for each in grave] == []

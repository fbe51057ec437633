"""A short crash test, and the auditor tried on what a real one leaves: `make chaos` is the long one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cli.stack.valkey import ServerNotFound, find_server
from tests.acceptance.world import tell
from tests.chaos.recovery import graver_than_late
from tests.chaos.run import CrashTest, Plan
from tests.chaos.tampering import unnoticed

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

SECONDS = float(os.environ.get("CHAOS_SECONDS", "60"))
#: How late is what `make chaos` measures; nobody knows the machine that runs this.
PATIENCE_MS = 60_000
#: The same faults each time: `make chaos` draws others.
SEED = 1


def test_nothing_is_lost_and_nothing_is_left_whatever_dies(tmp_path: Path) -> None:
    try:
        find_server()
    except ServerNotFound as error:
        if os.environ.get("CLEANBOOK_REQUIRE_SERVICES") == "1":
            pytest.fail(f"CLEANBOOK_REQUIRE_SERVICES is set, but: {error}")
        pytest.skip(str(error))
    seed = int(os.environ.get("CHAOS_SEED") or SEED)
    tell(f"seed {seed}, {SECONDS:g} s")
    evidence, verdict = CrashTest(
        plan=Plan(seconds=SECONDS, seed=seed), folder=tmp_path / "chaos", tell=tell
    ).run()
    assert evidence.rounds
    grave = graver_than_late(verdict.violations, PATIENCE_MS)
    assert [f"seed {seed} ({each.rule}) {each.text}" for each in grave] == []
    if not verdict.violations:
        assert unnoticed(evidence) == []

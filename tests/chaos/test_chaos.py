"""A short crash test, and the auditor tried on what a real one leaves: `make chaos` is the long one."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest

from cli.stack.valkey import ServerNotFound, find_server
from tests.acceptance.world import tell
from tests.chaos.run import CrashTest, Plan
from tests.chaos.tampering import unnoticed

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

SECONDS = float(os.environ.get("CHAOS_SECONDS", "60"))


def test_nothing_is_lost_and_nothing_is_left_whatever_dies(tmp_path: Path) -> None:
    try:
        find_server()
    except ServerNotFound as error:
        if os.environ.get("CLEANBOOK_REQUIRE_SERVICES") == "1":
            pytest.fail(f"CLEANBOOK_REQUIRE_SERVICES is set, but: {error}")
        pytest.skip(str(error))
    seed = int(os.environ.get("CHAOS_SEED") or secrets.randbelow(1_000_000))
    tell(f"seed {seed}, {SECONDS:g} s")
    evidence, verdict = CrashTest(
        plan=Plan(seconds=SECONDS, seed=seed), folder=tmp_path / "chaos", tell=tell
    ).run()
    assert evidence.rounds
    assert [f"seed {seed} ({each.rule}) {each.text}" for each in verdict.violations] == []
    assert unnoticed(evidence) == []

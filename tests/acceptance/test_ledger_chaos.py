"""No fill is ever lost or counted twice: streams, requests, the feed and the ledger's database all fail.

The long version is part of `make soak`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.ledger_chaos import Plan
from tests.soak.ledger_databases import Database, postgres_or_skip, sqlite_file
from tests.soak.ledger_run import run
from tests.soak.ledger_tampering import unnoticed

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

#: A lock has to outlast the ten seconds for which a writer waits, each time.
LOCKED = Plan(fills=700, duration_s=17, feed_kills=2, outages=1, disconnects=2, fundings=2, restarts=1)
LOCKED_TWICE = Plan(fills=1200, duration_s=32, feed_kills=3, disconnects=2, restarts=2)
CRASHED = Plan(fills=900, duration_s=20, feed_kills=2, disconnects=2, restarts=1)


@pytest.mark.parametrize(
    "plan", [pytest.param(LOCKED, id="once"), pytest.param(LOCKED_TWICE, id="twice", marks=pytest.mark.slow)]
)
def test_every_fill_is_once_in_a_file_that_was_locked(tmp_path: Path, plan: Plan) -> None:
    with sqlite_file(tmp_path) as database:
        _run(tmp_path, database, plan, seed=1)


@pytest.mark.slow
def test_every_fill_is_once_in_a_server_that_crashed_twice(tmp_path: Path) -> None:
    with postgres_or_skip() as database:
        _run(tmp_path, database, CRASHED, seed=2)


def _run(folder: Path, database: Database, plan: Plan, *, seed: int) -> None:
    evidence = run(folder, database, plan, seed=seed, hurry=True)
    missed = unnoticed(evidence)
    assert not missed, "\n".join(missed)

"""Twenty thousand fills through everything that can fail between the exchange and the ledger: `make soak`.

SOAK_FILLS shortens or lengthens it, SOAK_SEED repeats one.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.soak.ledger_chaos import Plan
from tests.soak.ledger_databases import postgres_or_skip, sqlite_file
from tests.soak.ledger_run import run

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]

FILLS = int(os.environ.get("SOAK_FILLS", "20000"))
SEED = int(os.environ.get("SOAK_SEED", "1"))
#: What two cores get through beside the faults.
FILLS_PER_S = 45
PLAN = Plan(fills=FILLS, duration_s=max(60.0, FILLS / FILLS_PER_S), disconnects=12, fundings=8, restarts=8)


def test_every_fill_is_once_in_a_file_that_was_locked_twice(tmp_path: Path) -> None:
    with sqlite_file(tmp_path) as database:
        run(tmp_path, database, PLAN, seed=SEED, hurry=False)


def test_every_fill_is_once_in_a_server_that_crashed_twice(tmp_path: Path) -> None:
    with postgres_or_skip() as database:
        run(tmp_path, database, PLAN, seed=SEED, hurry=False)

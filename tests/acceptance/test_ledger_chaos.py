"""No fill is ever lost or counted twice: streams, requests, the feed and the ledger's database all fail.

The long version is `make soak`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.ledger_chaos import Plan
from tests.soak.ledger_databases import NoServer, postgres_server, sqlite_file
from tests.soak.ledger_run import run

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]

SHORT = Plan(fills=1200, duration_s=32, feed_kills=3, disconnects=2, restarts=1)


def test_every_fill_is_once_in_a_file_that_was_locked_twice(tmp_path: Path) -> None:
    with sqlite_file(tmp_path) as database:
        run(tmp_path, database, SHORT, seed=1, hurry=True)


def test_every_fill_is_once_in_a_server_that_crashed_twice(tmp_path: Path) -> None:
    with postgres_server() as database:
        run(tmp_path, database, SHORT, seed=2, hurry=True)

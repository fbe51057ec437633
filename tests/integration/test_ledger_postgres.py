"""The ledger on a real PostgreSQL server: each test in a schema of its own, which is dropped afterwards.

`CLEANBOOK_TEST_POSTGRES_URL` names the server; without one the tests are skipped.
"""

from __future__ import annotations

import multiprocessing
import os
import secrets
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from ledger import export as exporting
from ledger import queries
from ledger.database import Ledger, open_ledger
from ledger.errors import LedgerError, LedgerTooNew, LedgerUnavailable
from ledger.importing import import_old
from tests.conftest import services_required
from tests.unit.ledger import story
from tests.unit.ledger.booking_cases import BookingCases
from tests.unit.ledger.profit_cases import ProfitCases
from tests.unit.ledger.test_importing import Old

#: Read now: tests run without the developer's variables.
URL = os.environ.get("CLEANBOOK_TEST_POSTGRES_URL") or "postgresql://127.0.0.1:5432/test"
USERS = ("", "postgres")


@pytest.fixture(scope="session")
def server() -> str:
    """The server's URL with a user that it lets in."""
    problem = ""
    for user in USERS:
        url = URL if not user or "@" in URL else URL.replace("://", f"://{user}@", 1)
        try:
            with psycopg.connect(url, connect_timeout=3):
                return url
        except psycopg.OperationalError as error:
            problem = problem or f"no PostgreSQL server: {error}"
    if services_required():
        pytest.fail(f"CLEANBOOK_REQUIRE_SERVICES is set, but: {problem}")
    pytest.skip(problem)


@pytest.fixture
def ledger_url(server: str) -> Iterator[str]:
    name = f"cleanbook_{secrets.token_hex(6)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
        yield f"{server}{'&' if '?' in server else '?'}options=-csearch_path%3D{name}&application_name={name}"
        connection.execute(f"DROP SCHEMA {name} CASCADE")


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    with open_ledger(ledger_url) as opened:
        yield opened


class TestBookingOnPostgres(BookingCases):
    examples = 10


class TestProfitOnPostgres(ProfitCases):
    examples = 10


def test_both_names_of_the_driver_are_understood(ledger_url: str) -> None:
    with open_ledger(ledger_url) as one:
        for scheme in ("postgresql+psycopg", "postgres"):
            with open_ledger(ledger_url.replace("postgresql", scheme, 1)) as other:
                assert other.ledger_id == one.ledger_id


def test_a_connection_that_the_server_ended_heals(ledger: Ledger, ledger_url: str, server: str) -> None:
    ledger.book([story.fill("1")])
    _end_connections_of(ledger_url, server)
    assert ledger.book([story.fill("2")]).fills == 1
    assert queries.counts(ledger)["fills"] == 2


def test_a_transaction_that_the_server_ended_books_nothing(
    ledger: Ledger, ledger_url: str, server: str
) -> None:
    with pytest.raises(LedgerUnavailable, match="try again"):
        _write_while_it_ends(ledger, ledger_url, server)
    assert ledger.book([story.fill("2")]).fills == 1
    assert queries.counts(ledger)["ledger_meta"] == 1


def test_a_writer_that_takes_long_is_not_waited_for_without_end(ledger_url: str) -> None:
    with open_ledger(ledger_url, busy_timeout_ms=100) as ledger, open_ledger(ledger_url) as other:
        with other.writing(), pytest.raises(LedgerUnavailable, match="lock timeout"):
            ledger.book([story.fill()])
        assert ledger.book([story.fill()]).fills == 1


def test_a_server_that_is_not_there_is_unavailable_and_its_password_not_shown() -> None:
    with pytest.raises(LedgerUnavailable) as caught:
        open_ledger("postgresql://somebody:hunter2@127.0.0.1:1/ledger")
    assert "somebody:***@127.0.0.1:1/ledger" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_ledger_of_a_newer_version_is_refused(ledger: Ledger, ledger_url: str) -> None:
    with ledger.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(LedgerTooNew, match="upgrade this installation"):
        open_ledger(ledger_url)


def test_a_missing_table_is_no_reason_to_try_again(ledger: Ledger) -> None:
    with ledger.writing() as connection:
        connection.execute(text("DROP TABLE funding"))
    with pytest.raises(LedgerError, match="funding") as caught:
        queries.counts(ledger)
    assert not isinstance(caught.value, LedgerUnavailable)


def test_an_export_reads_from_a_cursor_of_the_servers(ledger: Ledger, tmp_path: Path) -> None:
    ledger.book([story.fill(str(number), fee=Decimal("1.10")) for number in range(7)])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(exporting, "_ROWS_AT_ONCE", 3)
        count = exporting.export(
            ledger, exporting.Exported.FILLS, tmp_path / "fills.csv", exporting.FileFormat.CSV
        )
    lines = (tmp_path / "fills.csv").read_text().splitlines()
    assert (count, len(lines)) == (7, 8)
    assert all(",1.10," in line for line in lines[1:])


def test_an_old_file_is_imported_once(ledger: Ledger, tmp_path: Path) -> None:
    old = Old(tmp_path / "orders.db")
    old.fill("1")
    old.add("trading_stats", date="2025-11-30", symbol="SOL_USDC", net_profit=1.5, trade_count=2)
    owner: dict[str, Any] = {"account": story.ACCOUNT, "instance_id": story.INSTANCE}
    assert import_old(ledger, old.path, **owner).fills == 1
    before = story.rows(ledger)
    assert import_old(ledger, old.path, **owner).known == 1
    assert story.rows(ledger) == before


def test_processes_that_open_a_fresh_ledger_at_once_agree(ledger_url: str) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        ids = pool.map(_opened_id, [ledger_url] * 6)
    assert len(set(ids)) == 1


def _opened_id(url: str) -> str:
    with open_ledger(url) as ledger:
        ledger.book([story.fill()])
        return ledger.ledger_id


def _write_while_it_ends(ledger: Ledger, ledger_url: str, server: str) -> None:
    with ledger.writing() as connection:
        connection.execute(text("INSERT INTO ledger_meta VALUES ('half', 'done')"))
        _end_connections_of(ledger_url, server)
        connection.execute(text("SELECT 1"))


def _end_connections_of(ledger_url: str, server: str) -> None:
    name = ledger_url.rpartition("application_name=")[2]
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s", (name,)
        )

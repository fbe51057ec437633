"""Opening a ledger in a file, and what happens when it cannot be used."""

from __future__ import annotations

import multiprocessing
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from ledger import queries
from ledger.database import Ledger, open_ledger, redacted
from ledger.errors import LedgerError, LedgerTooNew, LedgerUnavailable
from tests.unit.ledger import story

ROOT = Path(__file__).parents[3]


def file_of(ledger_url: str) -> Path:
    return Path(ledger_url.removeprefix("sqlite:///"))


def test_the_file_is_made_with_its_folders_and_set_up(ledger: Ledger, ledger_url: str) -> None:
    assert file_of(ledger_url).is_file()
    with ledger.reading() as connection:
        pragmas = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 1, "foreign_keys": 1, "busy_timeout": 10_000}


def test_a_locked_file_is_unavailable_and_heals(ledger_url: str) -> None:
    with (
        open_ledger(ledger_url, busy_timeout_ms=50) as ledger,
        closing(sqlite3.connect(file_of(ledger_url), isolation_level=None)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerUnavailable, match=r"database is locked; try again"):
            ledger.book([story.fill()])
        assert queries.counts(ledger)["fills"] == 0
        other.execute("ROLLBACK")
        assert ledger.book([story.fill()]).fills == 1


def test_readers_do_not_wait_for_a_writer_and_see_one_moment(ledger: Ledger, ledger_url: str) -> None:
    count = text("SELECT count(*) FROM fills")
    with open_ledger(ledger_url) as other, ledger.reading() as connection:
        assert connection.execute(count).scalar_one() == 0
        other.book([story.fill()])
        assert connection.execute(count).scalar_one() == 0
    assert queries.counts(ledger)["fills"] == 1


def test_processes_that_open_a_fresh_ledger_at_once_agree(ledger_url: str) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        ids = pool.map(_opened_id, [ledger_url] * 6, chunksize=1)
    assert len(set(ids)) == 1


def _opened_id(url: str) -> str:
    with open_ledger(url) as ledger:
        ledger.book([story.fill()])
        return ledger.ledger_id


def test_a_ledger_of_a_newer_version_is_refused(ledger: Ledger, ledger_url: str) -> None:
    with ledger.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(LedgerTooNew, match=r"9999.*upgrade this installation"):
        open_ledger(ledger_url)


def test_a_missing_table_is_no_reason_to_try_again(ledger: Ledger) -> None:
    with ledger.writing() as connection:
        connection.execute(text("DROP TABLE funding"))
    with pytest.raises(LedgerError, match="no such table: funding") as caught:
        queries.counts(ledger)
    assert not isinstance(caught.value, LedgerUnavailable)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database " * 100)
    with pytest.raises(LedgerError, match="file is not a database") as caught:
        open_ledger(f"sqlite:///{tmp_path}/notes.txt")
    assert not isinstance(caught.value, LedgerUnavailable)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ledger.sqlite3", "cannot be read; it must be sqlite:///"),
        ("", "cannot be read"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("mysql://root:hunter2@somewhere/ledger", "cannot be kept in mysql://"),
        ("postgresql://root:hunter2@somewhere:port/ledger", "cannot be read"),
    ],
)
def test_a_url_that_cannot_be_used_says_what_can(url: str, words: str) -> None:
    with pytest.raises(LedgerError) as caught:
        open_ledger(url)
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LedgerError, match=r"folder .* cannot be made"):
        open_ledger(f"sqlite:///{tmp_path}/file/ledger.sqlite3")


def test_no_password_is_shown() -> None:
    assert redacted("postgresql://root:hunter2@host/db") == "postgresql://root:***@host/db"
    assert "hunter2" not in redacted("postgresql://host/db?password=hunter2")
    assert redacted("hunter2") == "<no URL>"


def test_telling_needs_no_sql() -> None:
    """Workers import what they tell with; loading a database library would slow every one of them."""
    code = "import sys, ledger.bookings; print('sqlalchemy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "False"

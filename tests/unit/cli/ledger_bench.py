"""A command line with a ledger in SQLite, to be filled by a test."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.bookings import Booking
from ledger.database import open_ledger
from state.bookings import BookingQueue
from tests.unit.cli.command_line import Bench, Ran

PASSWORD = "hunter2-of-the-ledger"
#: Nobody listens here.
NO_POSTGRES = f"postgresql://cleanbook:{PASSWORD}@127.0.0.1:1/books"
NO_REDIS = "redis://127.0.0.1:1/0"


@dataclass(frozen=True, kw_only=True)
class LedgerBench:
    """Runs commands; `book` is what a feed has booked before, `tell` what waits in Redis."""

    bench: Bench
    path: Path

    @property
    def url(self) -> str:
        """Return where the ledger is."""
        return f"sqlite:///{self.path}"

    def run(self, *arguments: str) -> Ran:
        """Run a command of `manage.py`."""
        return self.bench.run(*arguments)

    def rows(self, *arguments: str) -> list[dict[str, str]]:
        """Run a command with ``--csv`` and return the rows."""
        ran = self.run(*arguments, "--csv")
        assert ran.code == 0, ran.err
        return list(csv.DictReader(io.StringIO(ran.out, newline="")))

    def book(self, *bookings: Booking) -> None:
        """Put bookings into the ledger."""
        with open_ledger(self.url) as ledger:
            result = ledger.book(bookings)
        assert result.rejected == 0

    def tell(self, *bookings: Booking) -> None:
        """Leave bookings waiting in Redis."""
        BookingQueue(self.bench.client).add([booking.model_dump_json() for booking in bookings])

    def waiting(self) -> int:
        """Return how many bookings wait."""
        return BookingQueue(self.bench.client).length()


def columns_of(ran: Ran) -> list[str]:
    """Return the titles of a table."""
    return ran.out.splitlines()[0].split()


def by(rows: Sequence[dict[str, Any]], name: str) -> dict[str, dict[str, Any]]:
    """Return `rows` by what stands under `name`."""
    return {str(row[name]): row for row in rows}

"""Receipts of stops: one row for each run that was stopped, as of its last attempt that was told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from ledger import schema
from ledger.bookings import ReceiptBooking
from ledger.rows import Row

if TYPE_CHECKING:
    from ledger.database import Ledger

#: Account, instance, epoch, start of the run: what makes a receipt.
ReceiptKey = tuple[str, str, int, int]
_KEY = ("account", "instance_id", "epoch", "started_at_ms")


@dataclass(frozen=True, kw_only=True)
class ReceiptRecord:
    """The receipt of one stop as the ledger knows it."""

    account: str
    instance_id: str
    epoch: int
    symbol: str
    #: 0: not known.
    started_at_ms: int
    #: When the stop was first asked for; None: not known.
    requested_at_ms: int | None
    updated_at_ms: int
    #: ``clean``, ``orders_left``, ``position_left`` or ``unverified``.
    result: str
    attempts: int
    #: The whole receipt (JSON); `runner.receipt.read_receipt` reads it.
    receipt: str

    @property
    def is_clean(self) -> bool:
        """Tell whether the run was proven clean."""
        return self.result == "clean"

    @property
    def content(self) -> Mapping[str, Any]:
        """Return the receipt as plain values."""
        value: Mapping[str, Any] = json.loads(self.receipt)
        return value


def receipts(
    ledger: Ledger,
    *,
    instance_id: str | None = None,
    epoch: int | None = None,
    since_ms: int | None = None,
    account: str | None = None,
    limit: int | None = None,
) -> tuple[ReceiptRecord, ...]:
    """Return the receipts that fit every argument given, newest first.

    `since_ms` goes by the last change of a receipt. Raises `LedgerUnavailable`.
    """
    table = schema.receipts
    query = select(table).order_by(table.c.updated_at_ms.desc(), table.c.id.desc())
    for column, wanted in (
        (table.c.instance_id, instance_id),
        (table.c.epoch, epoch),
        (table.c.account, account),
    ):
        if wanted is not None:
            query = query.where(column == wanted)
    if since_ms is not None:
        query = query.where(table.c.updated_at_ms >= since_ms)
    if limit is not None:
        query = query.limit(limit)
    names = [name for name in table.c.keys() if name not in {"id", "exchange"}]  # noqa: SIM118 - no mapping
    with ledger.reading() as connection:
        rows = connection.execute(query).mappings().all()
    return tuple(ReceiptRecord(**{name: row[name] for name in names}) for row in rows)


def take_receipt(rows: dict[ReceiptKey, Row], booking: ReceiptBooking) -> None:
    """Put a booking among the rows to be booked, unless they have a later state of it."""
    row = {
        "account": booking.account,
        "exchange": booking.exchange,
        "instance_id": booking.instance_id,
        "epoch": booking.epoch,
        "symbol": booking.symbol,
        "started_at_ms": booking.started_at_ms,
        "requested_at_ms": booking.requested_at_ms,
        "updated_at_ms": booking.updated_at_ms,
        "result": booking.result,
        "attempts": booking.attempts,
        "receipt": booking.receipt,
    }
    key = (booking.account, booking.instance_id, booking.epoch, booking.started_at_ms)
    known = rows.get(key)
    if known is None or known["updated_at_ms"] <= booking.updated_at_ms:
        rows[key] = row


def book_receipts(connection: Connection, rows: Mapping[ReceiptKey, Row]) -> None:
    """Insert the rows; one that is there is replaced by what is as late as it or later."""
    if not rows:
        return
    table = schema.receipts
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(table)
    said = statement.excluded
    statement = statement.on_conflict_do_update(
        index_elements=[table.c[name] for name in _KEY],
        set_={name: said[name] for name in table.c.keys() if name not in {"id", *_KEY}},  # noqa: SIM118 - no mapping
        # Bookings come twice and in any order; times of one state server do not go back.
        where=table.c.updated_at_ms <= said.updated_at_ms,
    )
    connection.execute(statement, [rows[key] for key in sorted(rows)])

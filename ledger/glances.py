"""Small questions to the ledger: who is in it, what is newest, what was put aside."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ledger import schema
from ledger.database import Ledger


@dataclass(frozen=True, kw_only=True)
class PriceSeen:
    """A price, and when it was one."""

    price: Decimal
    at_ms: int


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """A booking that could not be booked."""

    kind: str
    account: str
    instance_id: str
    reason: str
    #: JSON, as it was told.
    booking: str


def instance_ids(ledger: Ledger) -> set[str]:
    """Return every instance that the ledger has anything of."""
    tables = (schema.runs, schema.orders, schema.fills, schema.events, schema.carried_forward)
    found: set[str] = set()
    with ledger.reading() as connection:
        for table in tables:
            names = table.select().with_only_columns(table.c.instance_id).distinct()
            found.update(connection.execute(names).scalars())
    return found - {""}


def newest_mark(ledger: Ledger, account: str, symbol: str) -> PriceSeen | None:
    """Return the mark of the newest snapshot of a position, None where none has one."""
    table = schema.positions
    query = (
        table.select()
        .where(table.c.account == account, table.c.symbol == symbol, table.c.mark_price.is_not(None))
        .order_by(table.c.at_ms.desc())
    )
    with ledger.reading() as connection:
        row = connection.execute(query.limit(1)).first()
    return None if row is None else PriceSeen(price=row.mark_price, at_ms=row.at_ms)


def marks_since(ledger: Ledger, account: str, symbol: str, *, since_ms: int) -> tuple[PriceSeen, ...]:
    """Return the marks in snapshots of a position, oldest first."""
    table = schema.positions
    query = (
        table.select()
        .where(table.c.account == account, table.c.symbol == symbol, table.c.mark_price.is_not(None))
        .where(table.c.at_ms >= since_ms)
        .order_by(table.c.at_ms)
    )
    with ledger.reading() as connection:
        return tuple(PriceSeen(price=row.mark_price, at_ms=row.at_ms) for row in connection.execute(query))


def last_fill(ledger: Ledger, account: str, symbol: str) -> PriceSeen | None:
    """Return the price of the newest fill of a market, whoever's it was, None without any."""
    table = schema.fills
    query = (
        table.select()
        .where(table.c.account == account, table.c.symbol == symbol)
        .order_by(table.c.filled_at_ms.desc(), table.c.id.desc())
    )
    with ledger.reading() as connection:
        row = connection.execute(query.limit(1)).first()
    return None if row is None else PriceSeen(price=row.price, at_ms=row.filled_at_ms)


def rejected(ledger: Ledger, limit: int) -> tuple[Rejected, ...]:
    """Return the bookings that could not be booked, newest first."""
    table = schema.rejected
    query = table.select().order_by(table.c.id.desc()).limit(limit)
    with ledger.reading() as connection:
        return tuple(
            Rejected(
                kind=row.kind,
                account=row.account,
                instance_id=row.instance_id,
                reason=row.reason,
                booking=row.booking,
            )
            for row in connection.execute(query)
        )


def newest_ms(ledger: Ledger) -> dict[str, int | None]:
    """Return the times of the newest order state, fill, funding, event and snapshot, ms; None for none."""
    columns: dict[str, Any] = {
        "order": schema.orders.c.updated_at_ms,
        "fill": schema.fills.c.filled_at_ms,
        "funding": schema.funding.c.interval_end_ms,
        "event": schema.events.c.at_ms,
        "snapshot": schema.balances.c.at_ms,
    }
    with ledger.reading() as connection:
        return {
            name: connection.execute(
                column.table.select().with_only_columns(column).order_by(column.desc()).limit(1)
            ).scalar()
            for name, column in columns.items()
        }

"""Book what is told: once, whatever the order and however often it comes."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import Connection, Table, bindparam, delete, exc, insert, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite

from ledger import rows, schema
from ledger.bookings import (
    Booking,
    EventBooking,
    FillBooking,
    FundingBooking,
    OrderBooking,
    ReceiptBooking,
    SnapshotBooking,
)
from ledger.merging import (
    FillKey,
    OrderKey,
    fill_key,
    joined_fill,
    joined_order,
    order_key,
    owned_by_order,
)
from ledger.receipts import ReceiptKey, book_receipts, take_receipt
from ledger.rows import Row
from ledger.run_history import RUN_EVENTS, runs_from_events

#: Orders asked for in one query; SQLite takes 32,766 parameters.
_KEYS_AT_ONCE = 1000


@dataclass(frozen=True, kw_only=True)
class BookResult:
    """What a call of `book` has changed."""

    #: Rows that are new.
    fills: int = 0
    orders: int = 0
    funding: int = 0
    events: int = 0
    #: Rows of orders and fills that say more than before.
    updated: int = 0
    #: Older than what retention has folded: booked then, and not booked again.
    ignored: int = 0
    #: Put aside, see the table `rejected`.
    rejected: int = 0

    def __add__(self, other: BookResult) -> BookResult:
        return BookResult(
            **{field.name: getattr(self, field.name) + getattr(other, field.name) for field in fields(self)}
        )


def book(connection: Connection, bookings: Sequence[Booking]) -> BookResult:
    """Book within the transaction of `connection`; what the database can never take is put aside."""
    problems = [(booking, rows.problem_of(booking)) for booking in bookings]
    sound = [booking for booking, problem in problems if not problem]
    aside = [(booking, problem) for booking, problem in problems if problem]
    result = _attempt(connection, sound)
    if isinstance(result, str):
        result = BookResult()
        for booking in sound:
            outcome = _attempt(connection, [booking])
            if isinstance(outcome, str):
                aside.append((booking, outcome))
            else:
                result += outcome
    return result + _put_aside(connection, aside)


def get_meta(connection: Connection, name: str) -> str | None:
    """Return a value of `ledger_meta`, None for none."""
    found = select(schema.ledger_meta.c.value).where(schema.ledger_meta.c.name == name)
    return connection.execute(found).scalar_one_or_none()


def put_meta(connection: Connection, name: str, value: str) -> None:
    """Keep a value in `ledger_meta`."""
    connection.execute(delete(schema.ledger_meta).where(schema.ledger_meta.c.name == name))
    connection.execute(insert(schema.ledger_meta), {"name": name, "value": value})


def insert_missing(connection: Connection, table: Table, new: Sequence[Row]) -> int:
    """Insert the rows whose unique key is not there yet; returns how many those were."""
    if not new:
        return 0
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(table).on_conflict_do_nothing().returning(literal(1))
    return len(connection.execute(statement, list(new)).all())


def _attempt(connection: Connection, bookings: Sequence[Booking]) -> BookResult | str:
    """Return what was booked, or what the database has against it; then nothing is."""
    try:
        with connection.begin_nested():
            return _Batch(connection, bookings).book()
    except OverflowError as error:
        return str(error)
    except (exc.IntegrityError, exc.DataError) as error:
        return " ".join(str(error.orig).split())


def _put_aside(connection: Connection, refused: Iterable[tuple[Booking, str]]) -> BookResult:
    found = []
    for booking, reason in refused:
        # Neither database takes a zero character in a text; as JSON it would be an escape, which both take.
        text = booking.model_dump_json()
        found.append(
            {
                "digest": hashlib.sha256(text.encode()).hexdigest(),
                "kind": booking.kind,
                "account": booking.account.replace("\0", "\\0"),
                "instance_id": booking.instance_id.replace("\0", "\\0"),
                "reason": reason,
                "booking": text,
            }
        )
    insert_missing(connection, schema.rejected, found)
    return BookResult(rejected=len(found))


def put_aside_unread(connection: Connection, refused: Iterable[tuple[str, str]]) -> None:
    """Keep texts that are no bookings, each with the reason, for whoever knows what they were."""
    found = [
        {
            "digest": hashlib.sha256(text.encode()).hexdigest(),
            "kind": "unreadable",
            "account": "",
            "instance_id": "",
            "reason": reason,
            # Whatever it is: as a JSON text both databases take it.
            "booking": json.dumps(text),
        }
        for text, reason in refused
    ]
    insert_missing(connection, schema.rejected, found)


class _Batch:
    """Bookings on their way into the database."""

    def __init__(self, connection: Connection, bookings: Sequence[Booking]) -> None:
        self._connection = connection
        self._orders: dict[OrderKey, Row] = {}
        self._states: list[Row] = []
        self._fills: dict[FillKey, Row] = {}
        self._funding: list[Row] = []
        self._events: list[Row] = []
        self._balances: list[Row] = []
        self._positions: list[Row] = []
        self._receipts: dict[ReceiptKey, Row] = {}
        self._pruned = _pruned_until(connection)
        self._ignored = 0
        for booking in bookings:
            self._take(booking)

    def book(self) -> BookResult:
        order_count, fill_count, updated = self._book_orders_and_fills()
        insert_missing(self._connection, schema.order_states, self._states)
        insert_missing(self._connection, schema.balances, self._balances)
        insert_missing(self._connection, schema.positions, self._positions)
        book_receipts(self._connection, self._receipts)
        return BookResult(
            orders=order_count,
            fills=fill_count,
            updated=updated,
            funding=insert_missing(self._connection, schema.funding, self._funding),
            events=self._book_events(),
            ignored=self._ignored,
        )

    def _take(self, booking: Booking) -> None:
        if isinstance(booking, OrderBooking):
            row = rows.order_row(booking)
            known = self._orders.get(order_key(row))
            self._orders[order_key(row)] = joined_order(known, row) if known else row
            self._states.append(rows.state_row(booking))
        elif isinstance(booking, FillBooking):
            row = rows.fill_row(booking)
            known = self._fills.get(fill_key(row))
            self._fills[fill_key(row)] = joined_fill(known, row) if known else row
        elif isinstance(booking, FundingBooking):
            if not self._is_pruned(booking.account, booking.symbol, booking.interval_end_ms):
                self._funding.append(rows.funding_row(booking))
        elif isinstance(booking, ReceiptBooking):
            take_receipt(self._receipts, booking)
        elif isinstance(booking, EventBooking):
            self._events.append(rows.event_row(booking))
        else:
            self._take_snapshot(booking)

    def _take_snapshot(self, booking: SnapshotBooking) -> None:
        self._balances += rows.balance_rows(booking)
        self._positions += rows.position_rows(booking)

    def _is_pruned(self, account: str, symbol: str, at_ms: int) -> bool:
        pruned = at_ms < self._pruned.get((account, symbol), 0)
        self._ignored += pruned
        return pruned

    def _book_orders_and_fills(self) -> tuple[int, int, int]:
        keys = {*self._orders, *(key[:3] for key in self._fills)}
        old_orders = {order_key(row): row for row in _rows_of_orders(self._connection, schema.orders, keys)}
        old_fills = {fill_key(row): row for row in _rows_of_orders(self._connection, schema.fills, keys)}
        orders = {**old_orders}
        for key, row in self._orders.items():
            if key in old_orders:
                orders[key] = joined_order(old_orders[key], row)
            elif not self._is_old_news(row):
                orders[key] = row
        self._states = [state for state in self._states if order_key(state) in orders]
        fills = {**old_fills}
        for fill, row in self._fills.items():
            if fill in old_fills:
                fills[fill] = joined_fill(old_fills[fill], row)
            elif not self._is_pruned(row["account"], row["symbol"], row["filled_at_ms"]):
                fills[fill] = row
        fills = {key: owned_by_order(row, orders.get(key[:3])) for key, row in fills.items()}
        updated = _write(self._connection, schema.orders, old_orders, orders)
        updated += _write(self._connection, schema.fills, old_fills, fills)
        return len(orders) - len(old_orders), len(fills) - len(old_fills), updated

    def _is_old_news(self, row: Row) -> bool:
        # An order that may still be open is never ignored, whatever its age.
        return rows.is_ended(row["status"]) and self._is_pruned(
            row["account"], row["symbol"], row["updated_at_ms"]
        )

    def _book_events(self) -> int:
        count = insert_missing(self._connection, schema.events, self._events)
        touched = {
            (row["instance_id"], row["epoch"])
            for row in self._events
            if row["event"] in RUN_EVENTS and row["instance_id"]
        }
        for instance_id, epoch in sorted(touched):
            _derive_runs(self._connection, instance_id, epoch)
        return count


def _pruned_until(connection: Connection) -> Mapping[tuple[str, str], int]:
    table = schema.pruned_until
    return {
        (account, symbol): until_ms
        for account, symbol, until_ms in connection.execute(
            select(table.c.account, table.c.symbol, table.c.until_ms)
        )
    }


def _rows_of_orders(connection: Connection, table: Table, keys: Iterable[OrderKey]) -> Iterable[Row]:
    by_market: dict[tuple[str, str], list[str]] = defaultdict(list)
    for account, symbol, order_id in keys:
        by_market[account, symbol].append(order_id)
    for (account, symbol), order_ids in by_market.items():
        for start in range(0, len(order_ids), _KEYS_AT_ONCE):
            query = select(table).where(
                table.c.account == account,
                table.c.symbol == symbol,
                table.c.order_id.in_(order_ids[start : start + _KEYS_AT_ONCE]),
            )
            yield from (dict(row) for row in connection.execute(query).mappings())


def _write(connection: Connection, table: Table, old: Mapping[Any, Row], wanted: Mapping[Any, Row]) -> int:
    """Insert the rows that `old` lacks, update those that differ from it; returns how many were updated."""
    new = [row for key, row in wanted.items() if key not in old]
    if new:
        connection.execute(insert(table), new)
    changed = [row for key, row in wanted.items() if key in old and row != old[key]]
    if changed:
        names = [column.name for column in table.columns if column.name != "id"]
        statement = (
            update(table)
            .where(table.c.id == bindparam("row_id"))
            .values({name: bindparam(f"new_{name}") for name in names})
        )
        connection.execute(
            statement,
            [{"row_id": row["id"], **{f"new_{name}": row[name] for name in names}} for row in changed],
        )
    return len(changed)


def _derive_runs(connection: Connection, instance_id: str, epoch: int) -> None:
    events, runs = schema.events, schema.runs
    said = connection.execute(
        select(events).where(
            events.c.instance_id == instance_id, events.c.epoch == epoch, events.c.event.in_(RUN_EVENTS)
        )
    ).mappings()
    found = runs_from_events(instance_id, epoch, [dict(row) for row in said])
    connection.execute(delete(runs).where(runs.c.instance_id == instance_id, runs.c.epoch == epoch))
    if found:  # None where the only event has the place of another one in the stream, and was known by it.
        connection.execute(insert(runs), found)

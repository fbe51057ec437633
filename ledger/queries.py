"""Questions to the ledger that need no arithmetic. Newest first, unless a function says otherwise."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from decimal import Decimal
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, Table, and_, func, or_, select

from ledger import schema
from ledger.database import Ledger
from ledger.rows import stream_place
from market.orders import OrderStatus, Side

_T = TypeVar("_T")
#: Rows of one answer, unless asked for otherwise.
DEFAULT_LIMIT = 500


@dataclass(frozen=True, kw_only=True)
class OrderRecord:
    """An order as the ledger knows it."""

    account: str
    instance_id: str
    #: 0: not known.
    epoch: int
    symbol: str
    order_id: str
    client_order_id: int | None
    level: int | None
    role: int | None
    side: Side
    #: None for market orders.
    price: Decimal | None
    quantity: Decimal
    executed: Decimal
    status: OrderStatus
    reason: str
    #: Exchange time of acceptance; 0: not known.
    created_at_ms: int
    #: Exchange time of `status`.
    updated_at_ms: int


@dataclass(frozen=True, kw_only=True)
class OrderState:
    """One state in the life of an order."""

    status: OrderStatus
    executed: Decimal
    reason: str
    at_ms: int


@dataclass(frozen=True, kw_only=True)
class FillRecord:
    """A fill as the ledger knows it."""

    account: str
    #: Empty: none of ours.
    instance_id: str
    epoch: int
    symbol: str
    market_type: str
    base_asset: str
    quote_asset: str
    order_id: str
    trade_id: str
    client_order_id: int | None
    level: int | None
    role: int | None
    side: Side
    price: Decimal
    quantity: Decimal
    #: In `fee_asset`; negative is a rebate.
    fee: Decimal
    fee_asset: str
    is_maker: bool
    is_system: bool
    filled_at_ms: int
    #: Who told of it first.
    source: str


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One run of an instance, from start to stop."""

    account: str
    instance_id: str
    epoch: int
    #: 0: the start was never told.
    started_at_ms: int
    config_version: str
    started_by: str
    stop_requested_at_ms: int | None
    stop_by: str
    stop_reason: str
    #: None while it goes on, or while cleanups are tried again.
    finished_at_ms: int | None
    #: What the last cleanup found: ``clean``, ``orders_left``, ...; empty before the first ended.
    outcome: str


@dataclass(frozen=True, kw_only=True)
class EventRecord:
    """A lifecycle event."""

    account: str
    instance_id: str
    epoch: int
    stream_id: str
    event: str
    at_ms: int
    fields: Mapping[str, str]


def orders(
    ledger: Ledger,
    instance_id: str,
    *,
    limit: int = DEFAULT_LIMIT,
    since_ms: int | None = None,
    open_only: bool = False,
    epoch: int | None = None,
) -> tuple[OrderRecord, ...]:
    """Return orders of an instance whose state is not older than `since_ms`, by the time of their state."""
    table = schema.orders
    query = _of_instance(table, instance_id, epoch, table.c.updated_at_ms, since_ms, limit)
    if open_only:
        query = query.where(table.c.status.in_(schema.OPEN_STATUSES))
    return _records(ledger, query, OrderRecord)


def open_orders(ledger: Ledger, account: str) -> tuple[OrderRecord, ...]:
    """Return every order of an account that is open as far as the ledger has been told, whoever owns it."""
    table = schema.orders
    query = select(table).where(table.c.account == account, table.c.status.in_(schema.OPEN_STATUSES))
    return _records(ledger, query.order_by(table.c.updated_at_ms.desc(), table.c.id.desc()), OrderRecord)


def order_states(ledger: Ledger, account: str, symbol: str, order_id: str) -> tuple[OrderState, ...]:
    """Return the states of one order that were told, oldest first."""
    table = schema.order_states
    query = (
        select(table)
        .where(table.c.account == account, table.c.symbol == symbol, table.c.order_id == order_id)
        .order_by(table.c.at_ms, table.c.id)
    )
    return _records(ledger, query, OrderState)


def fills(
    ledger: Ledger,
    instance_id: str,
    *,
    limit: int = DEFAULT_LIMIT,
    since_ms: int | None = None,
    epoch: int | None = None,
) -> tuple[FillRecord, ...]:
    """Return fills of an instance, not older than `since_ms`."""
    table = schema.fills
    query = _of_instance(table, instance_id, epoch, table.c.filled_at_ms, since_ms, limit)
    return _records(ledger, query, FillRecord)


def runs(ledger: Ledger, instance_id: str, *, limit: int = DEFAULT_LIMIT) -> tuple[RunRecord, ...]:
    """Return the runs of an instance."""
    table = schema.runs
    query = select(table).where(table.c.instance_id == instance_id).limit(limit)
    query = query.order_by(table.c.started_at_ms.desc(), table.c.epoch.desc())
    return _records(ledger, query, RunRecord)


def events(
    ledger: Ledger, instance_id: str, *, after_stream_id: str = "", limit: int = DEFAULT_LIMIT
) -> tuple[EventRecord, ...]:
    """Return events of an instance, oldest first: those after `after_stream_id`, or else the newest.

    Raises `ValueError` for a stream id that is no ``<ms>-<number>``.
    """
    table = schema.events
    query = select(table).where(table.c.instance_id == instance_id).limit(limit)
    if not after_stream_id:
        newest = query.order_by(table.c.stream_ms.desc(), table.c.stream_number.desc())
        return _event_records(ledger, newest)[::-1]
    place = stream_place(after_stream_id)
    if place is None:
        raise ValueError(f"{after_stream_id!r} is no place in a stream of events")
    query = query.where(_after(place)).order_by(table.c.stream_ms, table.c.stream_number)
    return _event_records(ledger, query)


def newest_fill_ms(ledger: Ledger, account: str, symbol: str) -> int | None:
    """Return the exchange time of the newest fill of an account's symbol, None if there never was one.

    Where retention has folded them all it is the time up to which it has: older ones are not booked again.
    """
    table, pruned = schema.fills, schema.pruned_until
    newest = select(func.max(table.c.filled_at_ms)).where(
        table.c.account == account, table.c.symbol == symbol
    )
    folded = select(pruned.c.until_ms).where(pruned.c.account == account, pruned.c.symbol == symbol)
    with ledger.reading() as connection:
        kept = connection.execute(newest).scalar_one()
        return kept if kept is not None else connection.execute(folded).scalar_one_or_none()


def counts(ledger: Ledger) -> dict[str, int]:
    """Return the number of rows of every table by its name."""
    with ledger.reading() as connection:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in schema.metadata.sorted_tables
        }


def _after(place: tuple[int, int]) -> ColumnElement[bool]:
    table = schema.events
    same = and_(table.c.stream_ms == place[0], table.c.stream_number > place[1])
    return or_(table.c.stream_ms > place[0], same)


def _of_instance(
    table: Table,
    instance_id: str,
    epoch: int | None,
    time: ColumnElement[int],
    since_ms: int | None,
    limit: int,
) -> Select[Any]:
    query = select(table).where(table.c.instance_id == instance_id)
    if epoch is not None:
        query = query.where(table.c.epoch == epoch)
    if since_ms is not None:
        query = query.where(time >= since_ms)
    return query.order_by(time.desc(), table.c.id.desc()).limit(limit)


def _event_records(ledger: Ledger, query: Select[Any]) -> tuple[EventRecord, ...]:
    with ledger.reading() as connection:
        rows = [dict(row) for row in connection.execute(query).mappings()]
    return tuple(_record({**row, "fields": json.loads(row["fields"])}, EventRecord) for row in rows)


def _records(ledger: Ledger, query: Select[Any], kind: type[_T]) -> tuple[_T, ...]:
    with ledger.reading() as connection:
        rows = connection.execute(query).mappings().all()
    return tuple(_record(dict(row), kind) for row in rows)


_FROM_TEXT = {"side": Side, "status": OrderStatus}


def _record(row: dict[str, Any], kind: type[_T]) -> _T:
    names = [field.name for field in dataclass_fields(kind)]  # type: ignore[arg-type]
    values = {name: row[name] for name in names}
    return kind(**{name: _FROM_TEXT.get(name, _same)(value) for name, value in values.items()})


def _same(value: Any) -> Any:
    return value

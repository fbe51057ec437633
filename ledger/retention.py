"""Keep the ledger from growing without end, and profit as it was.

Old fills and fundings are folded into sums per run and day (`carried_forward`) and the net quantities they
led to (`carried_positions`), then deleted; profit goes on from there. From then on fills older than that are
not booked any more: the exchange may list them again, and nobody could tell them from new ones.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from decimal import localcontext

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, exists, insert, select, union

from ledger import schema
from ledger.database import Ledger
from ledger.folding import PRECISION, Cell, CellKey, Chain
from ledger.markets import Market, carried, edge_ms, fold, starts
from ledger.rows import Row
from ledger.run_history import RUN_EVENTS

#: Rows of one transaction: others wait for it no longer than a moment.
ROWS_AT_ONCE = 5_000


@dataclass(frozen=True, kw_only=True)
class PruneResult:
    """How many rows were deleted."""

    fills: int = 0
    funding: int = 0
    orders: int = 0
    events: int = 0
    #: Balances and positions.
    snapshots: int = 0


def prune(
    ledger: Ledger,
    *,
    before_ms: int,
    details_before_ms: int | None = None,
    rows_at_once: int = ROWS_AT_ONCE,
) -> PruneResult:
    """Fold fills, fundings and ended orders older than `before_ms`, and return how many.

    With `details_before_ms`, events and snapshots older than that are deleted, but not events that make runs.
    May be interrupted anywhere and called again. Raises `LedgerUnavailable`, `LedgerError`.
    """
    fills = funding = orders = 0
    for market in _old_markets(ledger, before_ms):
        done = False
        while not done:
            with ledger.writing() as connection, localcontext(PRECISION):
                until_ms = edge_ms(connection, market, before_ms=before_ms, rows_at_once=rows_at_once)
                folded = _fold_away(connection, market, until_ms)
            fills, funding = fills + folded[0], funding + folded[1]
            done = until_ms >= before_ms
        orders += _drop_orders(ledger, market, before_ms, rows_at_once)
    if details_before_ms is None:
        return PruneResult(fills=fills, funding=funding, orders=orders)
    snapshots = sum(
        _drop_old(ledger, table, details_before_ms, rows_at_once)
        for table in (schema.balances, schema.positions)
    )
    events = _drop_old(ledger, schema.events, details_before_ms, rows_at_once)
    return PruneResult(fills=fills, funding=funding, orders=orders, events=events, snapshots=snapshots)


def _old_markets(ledger: Ledger, before_ms: int) -> list[Market]:
    fills, funding, orders = schema.fills, schema.funding, schema.orders
    old = union(
        select(fills.c.account, fills.c.symbol).where(fills.c.filled_at_ms < before_ms),
        select(funding.c.account, funding.c.symbol).where(funding.c.interval_end_ms < before_ms),
        select(orders.c.account, orders.c.symbol).where(_ended_before(before_ms)),
    )
    with ledger.reading() as connection:
        return sorted(Market(*row) for row in connection.execute(old))


def _fold_away(connection: Connection, market: Market, until_ms: int) -> tuple[int, int]:
    folding = carried(connection, market, starts(connection))
    fold(connection, market, folding, before_ms=until_ms)
    exchange = market.account.partition(":")[0]
    for table, rows in (
        (schema.carried_positions, [_position(o, chain) for o, chain in folding.chains.items()]),
        (schema.carried_forward, [_sums(key, cell) for key, cell in folding.cells.items()]),
    ):
        connection.execute(delete(table).where(_is_of(table, market)))
        if rows:
            connection.execute(insert(table), [{**market._asdict(), "exchange": exchange, **r} for r in rows])
    # Before anything is deleted: triggers then know that it is folded for good.
    _remember(connection, market, until_ms)
    _deleted(
        connection,
        schema.folded_days,
        and_(_is_of(schema.folded_days, market), schema.folded_days.c.until_ms <= until_ms),
    )
    fills, funding = schema.fills, schema.funding
    return (
        _deleted(connection, fills, and_(_is_of(fills, market), fills.c.filled_at_ms < until_ms)),
        _deleted(connection, funding, and_(_is_of(funding, market), funding.c.interval_end_ms < until_ms)),
    )


def _position(instance_id: str, chain: Chain) -> Row:
    return {
        "instance_id": instance_id,
        "base_asset": chain.base_asset,
        "quote_asset": chain.quote_asset,
        "net_quantity": chain.profit.net,
        "average_price": chain.profit.average_price,
        "epoch": chain.epoch,
    }


def _sums(key: CellKey, cell: Cell) -> Row:
    by_asset = {asset: format(amount, "f") for asset, amount in cell.fees_by_asset.items()}
    return {**key._asdict(), **asdict(cell), "fees_by_asset": json.dumps(by_asset, sort_keys=True)}


def _remember(connection: Connection, market: Market, until_ms: int) -> None:
    table = schema.pruned_until
    known = connection.execute(select(table.c.until_ms).where(_is_of(table, market))).scalar_one_or_none()
    connection.execute(delete(table).where(_is_of(table, market)))
    connection.execute(insert(table), {**market._asdict(), "until_ms": max(until_ms, known or 0)})


def _drop_orders(ledger: Ledger, market: Market, before_ms: int, rows_at_once: int) -> int:
    """Delete ended orders without fills, then states that belong to no order any more."""
    orders, states, fills = schema.orders, schema.order_states, schema.fills
    filled = exists().where(
        fills.c.account == orders.c.account,
        fills.c.symbol == orders.c.symbol,
        fills.c.order_id == orders.c.order_id,
    )
    known = exists().where(
        orders.c.account == states.c.account,
        orders.c.symbol == states.c.symbol,
        orders.c.order_id == states.c.order_id,
    )
    ended = and_(_is_of(orders, market), _ended_before(before_ms), ~filled)
    orphaned = and_(_is_of(states, market), states.c.at_ms < before_ms, ~known)
    count = _drop(ledger, orders, ended, rows_at_once)
    _drop(ledger, states, orphaned, rows_at_once)
    return count


def _drop_old(ledger: Ledger, table: Table, before_ms: int, rows_at_once: int) -> int:
    old = table.c.at_ms < before_ms
    if table is schema.events:
        old = and_(old, table.c.event.not_in(RUN_EVENTS))
    return _drop(ledger, table, old, rows_at_once)


def _drop(ledger: Ledger, table: Table, which: ColumnElement[bool], rows_at_once: int) -> int:
    """Delete in transactions of `rows_at_once` rows."""
    some = table.c.id.in_(select(table.c.id).where(which).limit(rows_at_once))
    total = 0
    while True:
        with ledger.writing() as connection:
            count = _deleted(connection, table, some)
        total += count
        if count < rows_at_once:
            return total


def _deleted(connection: Connection, table: Table, which: ColumnElement[bool]) -> int:
    return connection.execute(delete(table).where(which)).rowcount


def _is_of(table: Table, market: Market) -> ColumnElement[bool]:
    return and_(table.c.account == market.account, table.c.symbol == market.symbol)


def _ended_before(before_ms: int) -> ColumnElement[bool]:
    table = schema.orders
    return and_(table.c.status.not_in(schema.OPEN_STATUSES), table.c.updated_at_ms < before_ms)

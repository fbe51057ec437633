"""What the ledger knows of an instance: receipts, orders, fills, profit, events, and lines for charts."""

from __future__ import annotations

import time
from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated, Literal

from fastapi import APIRouter, Query

from ledger import queries
from ledger.glances import marks_since
from ledger.profit import Grouping, profit
from ledger.progress import Progress, progress
from ledger.queries import FillRecord, OrderRecord
from ledger.receipts import receipts as kept_receipts
from market.orders import role_name
from runner.kept_receipts import receipt_in
from runner.marks import marks_of, valued
from runner.receipt import Receipt
from runner.receipt_found import found_in_record
from runner.receipt_json import receipt_json
from state.connection import AWAY
from state.record import Record
from web.amounts import exact
from web.auth import Who, With
from web.errors import ApiError
from web.event_items import event_item_of_ledger
from web.history_models import (
    Events,
    Fill,
    Fills,
    Order,
    Orders,
    Pnl,
    ProfitLine,
    ReceiptAnswer,
    Receipts,
    Series,
    SeriesFill,
)
from web.models import Row
from web.routes.instances import InstanceId, read_record, require_row
from web.services import Services

router = APIRouter(tags=["history"])

Limit = Annotated[int, Query(ge=1, le=1000, description="The newest so many.")]
SinceMs = Annotated[int | None, Query(ge=0, le=10**15, description="Not older than this, Unix ms.")]
Epoch = Annotated[int | None, Query(ge=1, le=10**12, description="Of this run; else of the last stop.")]
#: Points of a line in a chart.
MOST_POINTS = 2000


@router.get("/instances/{instance_id}/receipt")
def receipt(instance_id: InstanceId, _: Who, services: With, epoch: Epoch = None) -> ReceiptAnswer:
    """Return the receipt of a stop: of one run, or of the last that was stopped."""
    _require_known(services, instance_id)
    found = found_in_record(_record(services, instance_id), epoch)
    if found is not None:
        told = receipt_json(found.receipt)
        return ReceiptAnswer(receipt=told, epoch=found.epoch, phase=found.phase, message=found.message)
    kept = kept_receipts(services.ledger.open(), instance_id=instance_id, epoch=epoch, limit=1)
    read = receipt_in(kept[0].receipt) if kept else None
    if read is None:
        which = f"run {epoch}" if epoch is not None else "any run"
        raise ApiError(404, f"there is no receipt of {which} of {instance_id}")
    return ReceiptAnswer(receipt=receipt_json(read), epoch=read.epoch, phase="", message="")


@router.get("/instances/{instance_id}/receipts")
def receipts(instance_id: InstanceId, _: Who, services: With, limit: Limit = 50) -> Receipts:
    """Return the receipts of all stops, newest first."""
    _require_known(services, instance_id)
    kept = kept_receipts(services.ledger.open(), instance_id=instance_id, limit=limit)
    found: dict[tuple[int, int], Receipt] = {}
    record = _record(services, instance_id)
    # The newest is in the record before it is in the ledger.
    for text in (record.outcome if record else "", *(each.receipt for each in kept)):
        read = receipt_in(text)
        if read is not None:
            found.setdefault((read.epoch, read.started_at_ms), read)
    newest_first = sorted(found.values(), key=lambda each: each.updated_at_ms, reverse=True)
    return Receipts(receipts=[told for each in newest_first if (told := receipt_json(each)) is not None])


@router.get("/instances/{instance_id}/orders")
def orders(
    instance_id: InstanceId,
    _: Who,
    services: With,
    open: Annotated[bool, Query(description="Only those that rest.")] = False,
    since_ms: SinceMs = None,
    limit: Limit = 100,
) -> Orders:
    """Return orders with their last known state."""
    _require_known(services, instance_id)
    ledger = services.ledger.open()
    found = queries.orders(ledger, instance_id, limit=limit + 1, since_ms=since_ms, open_only=open)
    return Orders(
        orders=[_order(each) for each in found[:limit]],
        has_more=len(found) > limit,
        up_to_date=services.ledger.up_to_date,
    )


@router.get("/instances/{instance_id}/fills")
def fills(
    instance_id: InstanceId, _: Who, services: With, since_ms: SinceMs = None, limit: Limit = 100
) -> Fills:
    """Return fills."""
    _require_known(services, instance_id)
    found = queries.fills(services.ledger.open(), instance_id, limit=limit + 1, since_ms=since_ms)
    return Fills(
        fills=[_fill(each) for each in found[:limit]],
        has_more=len(found) > limit,
        up_to_date=services.ledger.up_to_date,
    )


@router.get("/instances/{instance_id}/pnl")
def pnl(
    instance_id: InstanceId,
    _: Who,
    services: With,
    since_ms: SinceMs = None,
    by: Annotated[Literal["day", "instance"], Query(description="One line per UTC day, or in all.")] = "day",
) -> Pnl:
    """Return profit, from fills and fundings alone; some seconds old at most."""
    _require_known(services, instance_id)
    found = services.pnl.get((instance_id, by), lambda: _profit_lines(services, instance_id, Grouping(by)))
    lines = [line for line, last_ms in found if since_ms is None or last_ms >= since_ms]
    return Pnl(lines=lines, up_to_date=services.ledger.up_to_date)


@router.get("/instances/{instance_id}/events")
def events(instance_id: InstanceId, _: Who, services: With, limit: Limit = 100) -> Events:
    """Return what happened, oldest first."""
    _require_known(services, instance_id)
    found = queries.events(services.ledger.open(fresh=True), instance_id, limit=limit + 1)
    return Events(events=[event_item_of_ledger(each) for each in found[-limit:]], has_more=len(found) > limit)


@router.get("/instances/{instance_id}/series")
def series(
    instance_id: InstanceId,
    _: Who,
    services: With,
    minutes: Annotated[int, Query(ge=1, le=43_200, description="So far back.")] = 60,
) -> Series:
    """Return lines for a chart, from snapshots and fills; thinned out where there are very many points."""
    _require_known(services, instance_id)
    return services.series.get((instance_id, minutes), lambda: _series(services, instance_id, minutes))


def _require_known(services: Services, instance_id: str) -> Row | None:
    """Return the row; None where the state server is away, which keeps nobody from reading the ledger.

    Raises `ApiError` for an instance that nobody knows.
    """
    try:
        return require_row(services, instance_id)
    except AWAY:
        return None


def _record(services: Services, instance_id: str) -> Record | None:
    try:
        return read_record(services, instance_id)
    except AWAY:
        return None


def _order(order: OrderRecord) -> Order:
    return Order(
        order_id=order.order_id,
        client_order_id=order.client_order_id,
        epoch=order.epoch,
        symbol=order.symbol,
        side=order.side.value,
        price=exact(order.price),
        quantity=exact(order.quantity),
        executed=exact(order.executed),
        status=str(order.status),
        level=order.level,
        role=role_name(order.role),
        reason=order.reason,
        created_at_ms=order.created_at_ms or None,
        updated_at_ms=order.updated_at_ms,
    )


def _fill(fill: FillRecord) -> Fill:
    return Fill(
        trade_id=fill.trade_id,
        order_id=fill.order_id,
        epoch=fill.epoch,
        symbol=fill.symbol,
        side=fill.side.value,
        price=exact(fill.price),
        quantity=exact(fill.quantity),
        fee=exact(fill.fee),
        fee_asset=fill.fee_asset,
        is_maker=fill.is_maker,
        is_system=fill.is_system,
        level=fill.level,
        role=role_name(fill.role),
        filled_at_ms=fill.filled_at_ms,
    )


def _profit_lines(services: Services, instance_id: str, by: Grouping) -> tuple[tuple[ProfitLine, int], ...]:
    """Return the lines, each with the time of what it counted last."""
    ledger = services.ledger.open()
    rows = profit(ledger, by=by, instance_id=instance_id)
    market_data = services.context.market_data if services.ledger.up_to_date else None
    marks = marks_of(ledger, market_data, rows, now_ms=time.time_ns() // 1_000_000)
    return tuple(
        (
            ProfitLine(
                day=row.day,
                symbols=[row.symbol],
                quote_asset=row.quote_asset,
                realized=exact(row.realized),
                unrealized=exact(row.unrealized),
                fees=exact(row.fees),
                funding=exact(row.funding),
                total=exact(row.total),
                volume=exact(row.volume),
                fills=row.fills,
                net_quantity=exact(row.net_quantity),
            ),
            row.last_ms,
        )
        for row in valued(rows, marks)
    )


def _series(services: Services, instance_id: str, minutes: int) -> Series:
    ledger = services.ledger.open()
    since_ms = time.time_ns() // 1_000_000 - minutes * 60_000
    newest_first = queries.fills(ledger, instance_id, limit=MOST_POINTS, since_ms=since_ms)
    chosen = _chosen(progress(ledger, instance_id, since_ms=since_ms), newest_first)
    row = _require_known(services, instance_id)
    account = row.account if row else ""
    symbol = chosen.symbol if chosen else row.symbol if row else ""
    seen = marks_since(ledger, account, symbol, since_ms=since_ms)
    prices = {each.filled_at_ms: each.price for each in newest_first if each.symbol == symbol}
    # Where both tell, the exchange's mark does.
    prices |= {each.at_ms: each.price for each in seen}
    points = chosen.points if chosen else ()
    return Series(
        mid=_line((at_ms, prices[at_ms]) for at_ms in sorted(prices)),
        position=_line((point.at_ms, point.net_quantity) for point in points),
        profit=_line((point.at_ms, round(point.closed_profit, 8)) for point in points),
        fills=[
            SeriesFill(
                at_ms=each.filled_at_ms,
                side=each.side.value,
                price=exact(each.price),
                quantity=exact(each.quantity),
                level=each.level,
            )
            for each in reversed(newest_first)
            if each.symbol == symbol
        ],
        quote_asset=chosen.quote_asset if chosen else None,
    )


def _chosen(found: tuple[Progress, ...], newest_first: tuple[FillRecord, ...]) -> Progress | None:
    """Return the market that the instance trades now: it has the newest fill, here or ever."""
    if newest_first:
        return next((each for each in found if each.symbol == newest_first[0].symbol), None)
    return found[-1] if found else None


def _line(points: Iterable[tuple[int, Decimal]]) -> list[tuple[int, str]]:
    found = list(points)
    step = len(found) // MOST_POINTS + 1
    # Counted from the newest, which is always told.
    return [(at_ms, exact(value)) for at_ms, value in found[::-step][::-1]]

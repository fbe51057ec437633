"""Instances as they stand."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response

from ledger import queries
from ledger.errors import LedgerError
from runner.books import Books
from runner.kept_receipts import receipt_in
from state.queues import serves
from state.record import UNKNOWN_LEFT, Phase, Record, RecordUnreadable
from web.amounts import exact
from web.auth import Who, With
from web.errors import ApiError
from web.history_models import Market, Quotes
from web.models import (
    BookSummary,
    InstanceDetail,
    Row,
    Rows,
    ShortReceipt,
)
from web.services import Services
from web.ticks import books_in, quotes_of, read_market

router = APIRouter(tags=["instances"])

InstanceId = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]


@router.get("/instances", response_model=Rows)
def instances(_: Who, services: With) -> Response:
    """List every instance that has a file or has ever run."""
    # As it is: a second validation of 500 rows would take longer than all the rest.
    return Response(services.rows.read().model_dump_json(), media_type="application/json")


@router.get("/instances/{instance_id}")
def instance(instance_id: InstanceId, _: Who, services: With) -> InstanceDetail:
    """Tell all about one instance."""
    row = require_row(services, instance_id)
    record = read_record(services, instance_id)
    return InstanceDetail(
        **row.model_dump(),
        config=_config(services, instance_id),
        config_problem=services.rows.file_problem(instance_id),
        heartbeat_ms=_heartbeat_ms(services, record),
        server_ms=services.context.instances.now_ms(),
        receipt=_short_receipt(record),
        **(_of_record(services, record) if record else {}),
    )


@router.get("/instances/{instance_id}/market")
def market(instance_id: InstanceId, _: Who, services: With) -> Market:
    """Show the order book of its market as a feed sees it."""
    require_row(services, instance_id)
    return read_market(services.context, services.rows, instance_id)


@router.get("/instances/{instance_id}/quotes")
def quotes(instance_id: InstanceId, _: Who, services: With) -> Quotes:
    """Show its own open orders as of its last iteration."""
    row = require_row(services, instance_id)
    books = _books(services, instance_id)
    return Quotes(quotes=quotes_of(books) if books else [], at_ms=row.last_iteration_ms)


def require_row(services: Services, instance_id: str) -> Row:
    """Return the row of an instance. Raises `ApiError` for one that nobody knows."""
    row = services.rows.one(instance_id)
    if row is None:
        raise ApiError(
            404, f"there is no instance {instance_id!r}: neither a file nor a run", field="instance_id"
        )
    return row


def read_record(services: Services, instance_id: str) -> Record | None:
    """Return the record, None for none and for one that is damaged, which its row tells."""
    try:
        return services.context.instances.read(instance_id)
    except RecordUnreadable:
        return None


def _of_record(services: Services, record: Record) -> dict[str, Any]:
    books = _books(services, record.instance_id)
    left = None if record.left == UNKNOWN_LEFT else [name for name in record.left.split(",") if name]
    is_over = record.phase is Phase.STOPPED or record.phase is Phase.RUNNING
    return {
        "state": _summary(books) if books else None,
        "started_at_ms": record.started_at_ms,
        "started_by": _started_by(services, record),
        "stop_requested_at_ms": record.stop_requested_at_ms,
        "stop_by": record.stop_by,
        "stop_reason": record.stop_reason,
        "stopped_at_ms": record.stopped_at_ms,
        "paused_at_ms": record.paused_at_ms if record.is_paused else None,
        "paused_by": record.paused_by if record.is_paused else "",
        "pause_reason": record.pause_reason if record.is_paused else "",
        "withdrawn_at_ms": record.withdrawn_at_ms if record.is_paused else None,
        "errors_in_a_row": record.errors,
        "cleanup_attempts": record.attempts,
        "order_ids_left": [] if is_over else left,
    }


def _started_by(services: Services, record: Record) -> str:
    try:
        runs = queries.runs(services.ledger.open(), record.instance_id, limit=1)
    except LedgerError:
        return ""  # the rest is worth telling without it
    return runs[0].started_by if runs and runs[0].epoch == record.epoch else ""


def _books(services: Services, instance_id: str) -> Books | None:
    details = services.rows.fleet.details([instance_id]).get(instance_id)
    return books_in(details.books_json) if details else None


def _summary(books: Books) -> BookSummary:
    totals = list(books.totals.values())
    return BookSummary(
        bought=exact(sum((each.bought for each in totals), start=books.profit.net * 0)),
        sold=exact(sum((each.sold for each in totals), start=books.profit.net * 0)),
        net=exact(books.profit.net),
        average_price=exact(books.profit.average_price),
        realized=exact(books.profit.realized),
        fees=exact(books.profit.fees),
        limits_cutting=list(books.cuts),
    )


def _config(services: Services, instance_id: str) -> dict[str, Any] | None:
    text = services.rows.traits(instance_id).config_json
    found: dict[str, Any] | None = json.loads(text) if text else None
    return found


def _heartbeat_ms(services: Services, record: Record | None) -> int | None:
    if record is None:
        return None
    workers = services.context.events.workers(now_ms=services.context.instances.now_ms())
    seen = [
        worker.seen_at_ms
        for worker in workers
        if any(serves(queue, record.phase, record.account) for queue in worker.queues)
    ]
    return max(seen, default=None)


def _short_receipt(record: Record | None) -> ShortReceipt | None:
    receipt = receipt_in(record.outcome) if record else None
    if receipt is None:
        return None
    return ShortReceipt(
        epoch=receipt.epoch,
        result=str(receipt.result),
        clean=receipt.is_clean,
        requested_at_ms=receipt.requested_at_ms,
        verified_at_ms=receipt.verified_at_ms,
        cancelled=len(receipt.cancelled_order_ids),
        orders_left=None if receipt.orders_left is None else len(receipt.orders_left),
        problem=receipt.problem,
    )

"""Bookings as rows of the ledger's tables, and what makes one impossible to book."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from pydantic import BaseModel

from ledger.bookings import Booking, EventBooking, FillBooking, FundingBooking, OrderBooking, SnapshotBooking
from market.orders import OrderStatus

#: A row as SQL gives and takes it: column name to value.
Row = dict[str, Any]

#: Decimals beyond these exponents are no money; written out they would fill the database.
_LARGEST_EXPONENT = 100
_LARGEST_WHOLE = 2**63 - 1


def problem_of(booking: Booking) -> str:
    """Return why `booking` can never be booked, empty if it can."""
    for name, value in _values(booking):
        problem = _problem_of_value(value)
        if problem:
            return f"{name} {problem}"
    if isinstance(booking, FillBooking) and (booking.quantity <= 0 or booking.price <= 0):
        return f"a fill of {booking.quantity} at {booking.price} is none"
    if isinstance(booking, OrderBooking) and (booking.quantity < 0 or booking.executed < 0):
        return f"an order of {booking.quantity} with {booking.executed} executed is none"
    if isinstance(booking, EventBooking) and stream_place(booking.stream_id) is None:
        return f"stream_id {booking.stream_id!r} is no <ms>-<number>"
    return ""


def _problem_of_value(value: Any) -> str:
    if isinstance(value, str) and "\0" in value:
        return "has a zero character"
    if isinstance(value, int) and abs(value) > _LARGEST_WHOLE:
        return f"{value} is too large"
    if isinstance(value, Decimal):
        if not value.is_finite():
            return f"{value} is no amount"
        if (value and abs(value.adjusted()) > _LARGEST_EXPONENT) or abs(int(value.as_tuple().exponent)) > 300:
            return f"{value} is too large or too small"
    return ""


def _values(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, BaseModel):
        for field, inner in value:
            yield from _values(inner, field)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield name, key
            yield from _values(inner, f"{name} of {key}")
    else:
        yield name, value


def stream_place(stream_id: str) -> tuple[int, int] | None:
    """Return the two numbers of a place in a stream, None if it is no such place."""
    first, _, second = stream_id.partition("-")
    if not (first.isascii() and first.isdigit() and (not second or (second.isascii() and second.isdigit()))):
        return None
    place = int(first), int(second or 0)
    return None if max(place) > _LARGEST_WHOLE else place


def order_row(booking: OrderBooking) -> Row:
    """Return the row of `orders` that this booking alone would make."""
    return {
        "account": booking.account,
        "exchange": booking.exchange,
        "instance_id": booking.instance_id,
        "epoch": booking.epoch,
        "symbol": booking.symbol,
        "order_id": booking.order_id,
        "client_order_id": booking.client_order_id,
        "level": booking.level,
        "role": booking.role,
        "side": str(booking.side),
        "price": booking.price,
        "quantity": booking.quantity,
        "executed": booking.executed,
        "status": str(booking.status),
        "reason": booking.reason,
        "created_at_ms": booking.created_at_ms,
        "updated_at_ms": booking.at_ms,
    }


def state_row(booking: OrderBooking) -> Row:
    """Return the row of `order_states`."""
    return {
        "account": booking.account,
        "symbol": booking.symbol,
        "order_id": booking.order_id,
        "status": str(booking.status),
        # Part of a unique key, where SQLite would tell 1.0 from 1.
        "executed": plain(booking.executed),
        "reason": booking.reason,
        "at_ms": booking.at_ms,
    }


def plain(value: Decimal) -> Decimal:
    """Return `value` without zeros at its end; `normalize` would round to the context's precision."""
    text = format(value, "f")
    return Decimal(text.rstrip("0").rstrip(".") if "." in text else text) if value else Decimal(0)


def fill_row(booking: FillBooking) -> Row:
    """Return the row of `fills` that this booking alone would make."""
    return {
        "account": booking.account,
        "exchange": booking.exchange,
        "instance_id": booking.instance_id,
        "epoch": booking.epoch,
        "symbol": booking.symbol,
        "market_type": booking.market_type,
        "base_asset": booking.base_asset,
        "quote_asset": booking.quote_asset,
        "order_id": booking.order_id,
        "trade_id": booking.trade_id,
        "client_order_id": booking.client_order_id,
        "level": booking.level,
        "role": booking.role,
        "side": str(booking.side),
        "price": booking.price,
        "quantity": booking.quantity,
        "fee": booking.fee,
        "fee_asset": booking.fee_asset,
        "is_maker": booking.is_maker,
        "is_system": booking.is_system,
        "filled_at_ms": booking.filled_at_ms,
        "source": booking.source,
    }


def funding_row(booking: FundingBooking) -> Row:
    """Return the row of `funding`."""
    return {
        "account": booking.account,
        "exchange": booking.exchange,
        "instance_id": booking.instance_id,
        "epoch": booking.epoch,
        "symbol": booking.symbol,
        "amount": booking.amount,
        "rate": booking.rate,
        "interval_end_ms": booking.interval_end_ms,
    }


def event_row(booking: EventBooking) -> Row:
    """Return the row of `events`. `ValueError` for a stream id that is none."""
    place = stream_place(booking.stream_id)
    if place is None:
        raise ValueError(f"{booking.stream_id!r} is no place in a stream")
    return {
        "account": booking.account,
        "exchange": booking.exchange,
        "instance_id": booking.instance_id,
        "epoch": booking.epoch,
        "stream_id": booking.stream_id,
        "stream_ms": place[0],
        "stream_number": place[1],
        "event": booking.event,
        "at_ms": booking.at_ms,
        "fields": json.dumps(dict(booking.fields), ensure_ascii=False, sort_keys=True),
    }


def balance_rows(booking: SnapshotBooking) -> list[Row]:
    """Return the rows of `balances`."""
    return [
        {
            "account": booking.account,
            "exchange": booking.exchange,
            "at_ms": booking.at_ms,
            "asset": asset,
            "available": balance.available,
            "locked": balance.locked,
        }
        for asset, balance in booking.balances.items()
    ]


def position_rows(booking: SnapshotBooking) -> list[Row]:
    """Return the rows of `positions`."""
    return [
        {
            "account": booking.account,
            "exchange": booking.exchange,
            "at_ms": booking.at_ms,
            "symbol": symbol,
            "net_quantity": position.net_quantity,
            "entry_price": position.entry_price,
            "mark_price": position.mark_price,
        }
        for symbol, position in booking.positions.items()
    ]


def is_ended(status: str) -> bool:
    """Tell whether an order in this state can no longer be filled."""
    return not OrderStatus(status).is_open

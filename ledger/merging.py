"""Join what several bookings say of one order or fill.

Every rule is a maximum or minimum, so that the same bookings give the same row in any order and however
often they come. Where the exchange contradicts itself about something that cannot change, the rule picks one,
always the same one.
"""

from __future__ import annotations

from typing import Any

from ledger.rows import Row, is_ended
from market.orders import OrderStatus

#: Account, symbol, order id.
OrderKey = tuple[str, str, str]
#: Account, symbol, order id, trade id.
FillKey = tuple[str, str, str, str]

#: What a fill takes over from its order.
OWNERSHIP = ("instance_id", "epoch", "client_order_id", "level", "role")


def order_key(row: Row) -> OrderKey:
    """Return what an order's row is known by; of a fill's row, its order's."""
    return row["account"], row["symbol"], row["order_id"]


def fill_key(row: Row) -> FillKey:
    """Return what a fill's row is known by."""
    return row["account"], row["symbol"], row["order_id"], row["trade_id"]


def joined_order(one: Row, other: Row) -> Row:
    """Return the row that says what both say.

    An ended state is never replaced by an open one; of two open states the later one holds.
    """
    newer = max(one, other, key=_finality)
    return {
        **one,
        **_joined_ownership(one, other),
        "side": max(one["side"], other["side"]),
        "price": _largest(one["price"], other["price"]),
        "quantity": max(one["quantity"], other["quantity"]),
        "executed": max(one["executed"], other["executed"]),
        "status": newer["status"],
        "updated_at_ms": newer["updated_at_ms"],
        "reason": max(one["reason"], other["reason"]),
        "created_at_ms": _smallest_known(one["created_at_ms"], other["created_at_ms"]),
    }


def joined_fill(first: Row, later: Row) -> Row:
    """Return `first` with what only `later` knows of its owner: what the exchange said first stands."""
    return {**first, **_joined_ownership(first, later)}


def owned_by_order(fill: Row, order: Row | None) -> Row:
    """Return `fill` with the owner that its order has, as far as that is known."""
    if order is None:
        return fill
    known = {name: order[name] for name in OWNERSHIP if order[name] not in (None, "")}
    if known.get("epoch") == 0:
        del known["epoch"]
    return {**fill, **known}


def _joined_ownership(one: Row, other: Row) -> Row:
    # An order that outlives its run is seen by the next one too; it belongs to the one that placed it.
    return {
        "instance_id": min(filter(None, (one["instance_id"], other["instance_id"])), default=""),
        "epoch": _smallest_known(one["epoch"], other["epoch"]),
        "client_order_id": _largest(one["client_order_id"], other["client_order_id"]),
        "level": _largest(one["level"], other["level"]),
        "role": _largest(one["role"], other["role"]),
    }


def _finality(row: Row) -> tuple[Any, ...]:
    # Quantities are joined before. An order ends once, so of two ends the one that says more is true, however
    # late the other was told: to an iteration that finds an order gone, every end is "cancelled".
    progress, ended = _PROGRESS[row["status"]], is_ended(row["status"])
    return ended, progress if ended else 0, row["updated_at_ms"], progress, row["status"]


#: Of two open states of one moment, and of two ends, the one further on.
_PROGRESS = {
    OrderStatus.TRIGGER_PENDING: 0,
    OrderStatus.NEW: 1,
    OrderStatus.PARTIALLY_FILLED: 2,
    OrderStatus.CANCELLED: 3,
    OrderStatus.TRIGGER_FAILED: 4,
    OrderStatus.EXPIRED: 4,
    OrderStatus.FILLED: 5,
}


def _smallest_known(one: int, other: int) -> int:
    return min(filter(None, (one, other)), default=0)


def _largest(one: Any, other: Any) -> Any:
    return max((value for value in (one, other) if value is not None), default=None)

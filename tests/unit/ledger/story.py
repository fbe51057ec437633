"""Bookings with defaults, and a ledger's rows to compare."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sqlalchemy import delete, select

from ledger import schema
from ledger.bookings import (
    BalanceSnapshot,
    Booking,
    EventBooking,
    FillBooking,
    FundingBooking,
    OrderBooking,
    PositionSnapshot,
    ReceiptBooking,
    SnapshotBooking,
)
from ledger.database import Ledger
from market.orders import OrderStatus, Side

ACCOUNT = "backpack:0123456789"
INSTANCE = "mm_01"
SYMBOL = "SOL_USDC"
PERP = "SOL_USDC_PERP"
#: Midnight of 2026-01-02, UTC.
T0 = 1_767_312_000_000
DAY_MS = 86_400_000


def order(order_id: str = "1", status: OrderStatus = OrderStatus.NEW, **changed: Any) -> OrderBooking:
    """Return an order of our instance."""
    values: dict[str, Any] = {
        "account": ACCOUNT,
        "instance_id": INSTANCE,
        "epoch": 1,
        "symbol": SYMBOL,
        "order_id": order_id,
        "client_order_id": 7_340_033,
        "level": 0,
        "role": 0,
        "side": Side.BUY,
        "price": Decimal(100),
        "quantity": Decimal(2),
        "executed": Decimal(0),
        "status": status,
        "at_ms": T0,
        "created_at_ms": T0,
    }
    return OrderBooking(**{**values, **changed})


def fill(trade_id: str = "1", **changed: Any) -> FillBooking:
    """Return a fill of our instance."""
    perp = changed.get("symbol") == PERP
    values: dict[str, Any] = {
        "account": ACCOUNT,
        "instance_id": INSTANCE,
        "epoch": 1,
        "symbol": SYMBOL,
        "market_type": "perp" if perp else "spot",
        "base_asset": "SOL",
        "quote_asset": "USDC",
        "trade_id": trade_id,
        "order_id": "1",
        "client_order_id": 7_340_033,
        "level": 0,
        "role": 0,
        "side": Side.BUY,
        "price": Decimal(100),
        "quantity": Decimal(1),
        "fee": Decimal(0),
        "fee_asset": "USDC",
        "is_maker": True,
        "filled_at_ms": T0,
        "source": "stream",
    }
    return FillBooking(**{**values, **changed})


def funding(amount: str = "-0.5", at_ms: int = T0, **changed: Any) -> FundingBooking:
    """Return a funding payment of the account."""
    values: dict[str, Any] = {
        "account": ACCOUNT,
        "symbol": PERP,
        "amount": Decimal(amount),
        "rate": Decimal("0.0001"),
        "interval_end_ms": at_ms,
    }
    return FundingBooking(**{**values, **changed})


def event(name: str, at_ms: int = T0, number: int = 0, **changed: Any) -> EventBooking:
    """Return a lifecycle event of our instance."""
    values: dict[str, Any] = {
        "account": ACCOUNT,
        "instance_id": INSTANCE,
        "epoch": 1,
        "stream_id": f"{at_ms}-{number}",
        "event": name,
        "at_ms": at_ms,
        "fields": {},
    }
    return EventBooking(**{**values, **changed})


def snapshot(at_ms: int = T0, available: str = "100") -> SnapshotBooking:
    """Return what the account held."""
    return SnapshotBooking(
        account=ACCOUNT,
        at_ms=at_ms,
        balances={"USDC": BalanceSnapshot(available=Decimal(available), locked=Decimal(0))},
        positions={PERP: PositionSnapshot(net_quantity=Decimal(1), entry_price=Decimal(99), mark_price=None)},
    )


def receipt(result: str = "clean", updated_at_ms: int = T0, **changed: Any) -> ReceiptBooking:
    """Return the receipt of a stop, as of some attempt."""
    values: dict[str, Any] = {
        "account": ACCOUNT,
        "instance_id": INSTANCE,
        "epoch": 1,
        "symbol": SYMBOL,
        "started_at_ms": T0 - 10,
        "requested_at_ms": T0 - 1,
        "updated_at_ms": updated_at_ms,
        "result": result,
        "attempts": 1,
        "receipt": f'{{"result": "{result}"}}',
    }
    return ReceiptBooking(**{**values, **changed})


def life() -> list[Booking]:
    """Return what two runs tell: some of it late, some without its owner, some by several who saw it."""
    nobody: dict[str, Any] = {"instance_id": "", "epoch": 0}
    nobody |= {"level": None, "role": None, "client_order_id": None}
    started = {"config_version": "v1", "account": ACCOUNT, "by": "cli"}
    filled: dict[str, Any] = {"executed": Decimal(2), "at_ms": T0 + 20}
    return [
        event("started", T0 - 10, fields=started),
        order("1"),
        order("1", OrderStatus.PARTIALLY_FILLED, executed=Decimal(1), at_ms=T0 + 10, created_at_ms=0),
        fill("9", filled_at_ms=T0 + 10, **nobody),
        fill("9", filled_at_ms=T0 + 10),
        fill("10", filled_at_ms=T0 + 20, **nobody),
        order("1", OrderStatus.FILLED, **filled),
        order("1", OrderStatus.FILLED, **{**filled, **nobody}),
        order("2", at_ms=T0 + 5, **nobody),
        order("2", OrderStatus.CANCELLED, at_ms=T0 + 30, reason="user"),
        order("2", OrderStatus.CANCELLED, at_ms=T0 + 35),
        order("2", at_ms=T0 + 40),
        fill("11", order_id="2", filled_at_ms=T0 + 29, level=None, role=None),
        fill("12", order_id="somebody's", filled_at_ms=T0 + 31, **nobody),
        order("3", OrderStatus.EXPIRED, at_ms=T0 + 50, price=None, role=2),
        order("3", OrderStatus.EXPIRED, at_ms=T0 + 50, price=None, role=2, executed=Decimal("0.5"), epoch=2),
        funding("0.25"),
        snapshot(),
        event("stop_requested", T0 + 60, fields={"by": "cli", "reason": "tired"}),
        event("stop_requested", T0 + 61, fields={"by": "web", "reason": "very tired"}),
        event("cleanup_claimed", T0 + 61, 1, fields={"by": "worker"}),
        event("finished", T0 + 70, fields={"result": "retry", "outcome": '{"result": "orders_left"}'}),
        event("finished", T0 + 90, fields={"result": "stopped", "outcome": '{"result": "clean"}'}),
        receipt("unverified", T0 + 70),
        receipt("orders_left", T0 + 80, attempts=2),
        receipt("clean", T0 + 90, attempts=3),
        # The state server lost its data: epochs begin at 1 again.
        event("started", T0 + 100, fields=started),
        event("stop_requested", T0 + 150, fields={"by": "strategy", "reason": "loss"}),
        receipt("position_left", T0 + 160, started_at_ms=T0 + 100),
    ]


def rows(ledger: Ledger, *, without: tuple[str, ...] = ("id",)) -> dict[str, list[dict[str, Any]]]:
    """Return all rows of all tables but `ledger_meta`, in an order that does not depend on their ids."""
    found = {}
    with ledger.reading() as connection:
        for table in schema.metadata.sorted_tables:
            if table is schema.ledger_meta:
                continue
            records = [dict(row) for row in connection.execute(select(table)).mappings()]
            kept = [{k: v for k, v in record.items() if k not in without} for record in records]
            found[table.name] = sorted(kept, key=lambda record: repr(sorted(record.items())))
    return found


def empty(ledger: Ledger) -> None:
    """Delete every row."""
    with ledger.writing() as connection:
        for table in schema.metadata.sorted_tables:
            if table is not schema.ledger_meta:
                connection.execute(delete(table))

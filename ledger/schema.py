"""The ledger's tables. `migrations/` makes them; a test holds the two against each other.

Times are whole milliseconds since 1970, exchange time unless a name says otherwise. `exchange` repeats the
first part of `account`, so that people can select by it. `instance_id` '' means none of ours, `epoch` 0 not
known.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Index,
    Integer,
    MetaData,
    Numeric,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.types import TypeEngine

from market.orders import OrderStatus


class Money(TypeDecorator[Decimal]):
    """A decimal kept to its last digit: TEXT on SQLite (whose NUMERIC is a float), NUMERIC on PostgreSQL.

    SQL must not compare or add such columns, SQLite would do it by letters: Python does.
    """

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return what `dialect` keeps the value in."""
        return dialect.type_descriptor(Numeric() if dialect.name == "postgresql" else Text())

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        """Return `value` as the driver wants it."""
        return value if value is None or dialect.name == "postgresql" else format(value, "f")

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        """Return the exact decimal."""
        return None if value is None else Decimal(value)


class JsonText(Text):
    """A text that holds JSON."""


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

#: Statuses of orders that can still be filled, as they stand in the database.
OPEN_STATUSES = tuple(str(status) for status in OrderStatus if status.is_open)


def _row_id() -> Column[int]:
    # SQLite numbers rows by itself only where the type is INTEGER.
    return Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True)


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def _maybe_text(name: str) -> Column[str]:
    return Column(name, Text)


def _ms(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False)


def _maybe_whole(name: str) -> Column[int]:
    return Column(name, BigInteger)


def _money(name: str) -> Column[Decimal]:
    return Column(name, Money, nullable=False)


def _maybe_money(name: str) -> Column[Decimal]:
    return Column(name, Money)


def _owner() -> tuple[Column[Any], ...]:
    return (_text("account"), _text("exchange"), _text("instance_id"), _ms("epoch"))


#: `ledger_id`, and how far readers of the told bookings have come (`cursor:<name>`).
ledger_meta = Table("ledger_meta", metadata, Column("name", Text, primary_key=True), _text("value"))

#: One row per start of an instance. A state server that lost its data numbers epochs from 1 again, so the
#: time of the start is part of the key; 0 where the start itself was never told.
runs = Table(
    "runs",
    metadata,
    _row_id(),
    *_owner(),
    _ms("started_at_ms"),
    _text("config_version"),
    _text("started_by"),
    _maybe_whole("stop_requested_at_ms"),
    _text("stop_by"),
    _text("stop_reason"),
    _maybe_whole("finished_at_ms"),
    # What the last cleanup found: `clean`, `orders_left`, ...; empty before the first one ended.
    _text("outcome"),
    UniqueConstraint("instance_id", "epoch", "started_at_ms"),
)

#: The receipt of each stop, as of its last attempt that was told. Proof: kept as long as `runs`.
receipts = Table(
    "receipts",
    metadata,
    _row_id(),
    *_owner(),
    _text("symbol"),
    # Part of the key for the same reason as in `runs`.
    _ms("started_at_ms"),
    _maybe_whole("requested_at_ms"),
    _ms("updated_at_ms"),
    # `clean`, `orders_left`, `position_left`, `unverified`.
    _text("result"),
    _ms("attempts"),
    Column("receipt", JsonText, nullable=False),
    UniqueConstraint("account", "instance_id", "epoch", "started_at_ms"),
    Index(None, "instance_id", "epoch"),
)

orders = Table(
    "orders",
    metadata,
    _row_id(),
    *_owner(),
    _text("symbol"),
    _text("order_id"),
    _maybe_whole("client_order_id"),
    _maybe_whole("level"),
    _maybe_whole("role"),
    _text("side"),
    _maybe_money("price"),
    _money("quantity"),
    _money("executed"),
    _text("status"),
    _text("reason"),
    _ms("created_at_ms"),
    # Exchange time of `status`.
    _ms("updated_at_ms"),
    UniqueConstraint("account", "symbol", "order_id"),
    Index(None, "instance_id", "updated_at_ms"),
    Index(None, "account", "status"),
)

#: Every state of an order that was told, for the history of one order.
order_states = Table(
    "order_states",
    metadata,
    _row_id(),
    _text("account"),
    _text("symbol"),
    _text("order_id"),
    _text("status"),
    _money("executed"),
    _text("reason"),
    _ms("at_ms"),
    # The name made from the columns would be too long for PostgreSQL.
    UniqueConstraint(
        "account", "symbol", "order_id", "at_ms", "status", "executed", "reason", name="uq_order_states_state"
    ),
)

#: Trade ids are numbered per symbol only, and both orders of a self-trade share one: hence the long key.
fills = Table(
    "fills",
    metadata,
    _row_id(),
    *_owner(),
    _text("symbol"),
    _text("market_type"),
    _text("base_asset"),
    _text("quote_asset"),
    _text("order_id"),
    _text("trade_id"),
    _maybe_whole("client_order_id"),
    _maybe_whole("level"),
    _maybe_whole("role"),
    _text("side"),
    _money("price"),
    _money("quantity"),
    _money("fee"),
    _text("fee_asset"),
    Column("is_maker", Boolean, nullable=False),
    Column("is_system", Boolean, nullable=False),
    _ms("filled_at_ms"),
    _text("source"),
    UniqueConstraint("account", "symbol", "order_id", "trade_id"),
    Index(None, "account", "symbol", "filled_at_ms"),
    Index(None, "instance_id", "filled_at_ms"),
    # Where an instance has traded.
    Index(None, "instance_id", "account", "symbol"),
)

funding = Table(
    "funding",
    metadata,
    _row_id(),
    *_owner(),
    _text("symbol"),
    _money("amount"),
    _money("rate"),
    _ms("interval_end_ms"),
    UniqueConstraint("account", "symbol", "interval_end_ms"),
    Index(None, "instance_id", "account", "symbol"),
)

events = Table(
    "events",
    metadata,
    _row_id(),
    *_owner(),
    _text("stream_id"),
    # The two numbers of `stream_id`, which as a text has no order.
    _ms("stream_ms"),
    _ms("stream_number"),
    _text("event"),
    _ms("at_ms"),
    Column("fields", JsonText, nullable=False),
    UniqueConstraint("stream_id"),
    Index(None, "instance_id", "stream_ms", "stream_number"),
)

balances = Table(
    "balances",
    metadata,
    _row_id(),
    _text("account"),
    _text("exchange"),
    _ms("at_ms"),
    _text("asset"),
    _money("available"),
    _money("locked"),
    UniqueConstraint("account", "at_ms", "asset"),
)

positions = Table(
    "positions",
    metadata,
    _row_id(),
    _text("account"),
    _text("exchange"),
    _ms("at_ms"),
    _text("symbol"),
    _money("net_quantity"),
    _maybe_money("entry_price"),
    _maybe_money("mark_price"),
    UniqueConstraint("account", "at_ms", "symbol"),
)

#: Bookings that could not be booked, with the reason; kept once however often they are told.
rejected = Table(
    "rejected",
    metadata,
    _row_id(),
    # SHA-256 of `booking`.
    _text("digest"),
    _text("kind"),
    _text("account"),
    _text("instance_id"),
    _text("reason"),
    Column("booking", JsonText, nullable=False),
    UniqueConstraint("digest"),
)

#: How far an account's symbol was folded into what is carried forward; older fills are not booked again.
pruned_until = Table(
    "pruned_until",
    metadata,
    Column("account", Text, primary_key=True),
    Column("symbol", Text, primary_key=True),
    _ms("until_ms"),
)

#: Net quantity and average price at `pruned_until`, one row per chain of fills.
carried_positions = Table(
    "carried_positions",
    metadata,
    Column("account", Text, primary_key=True),
    Column("symbol", Text, primary_key=True),
    Column("instance_id", Text, primary_key=True),
    _text("exchange"),
    _text("base_asset"),
    _text("quote_asset"),
    _money("net_quantity"),
    _money("average_price"),
    # Of the chain's newest fill: what the exchange does of its own accord counts for that run.
    _ms("epoch"),
)

#: Sums of the fills and fundings that were pruned, per chain, run and UTC day.
carried_forward = Table(
    "carried_forward",
    metadata,
    Column("account", Text, primary_key=True),
    Column("symbol", Text, primary_key=True),
    Column("instance_id", Text, primary_key=True),
    Column("epoch", BigInteger, primary_key=True),
    Column("started_at_ms", BigInteger, primary_key=True),
    # ISO date.
    Column("day", Text, primary_key=True),
    _text("exchange"),
    _money("realized"),
    # Quote units, without those in a third asset.
    _money("fees"),
    # Asset to amount, as texts.
    Column("fees_by_asset", JsonText, nullable=False),
    _money("funding"),
    _money("maker_volume"),
    _money("taker_volume"),
    _ms("fills"),
    _ms("first_ms"),
    _ms("last_ms"),
)

#: What the fills and fundings of a market came to on one UTC day up to `until_ms`, and where that led: see
#: `ledger.folded_days`. Triggers delete what lacks a row of theirs that comes late, changes or goes.
folded_days = Table(
    "folded_days",
    metadata,
    Column("account", Text, primary_key=True),
    Column("symbol", Text, primary_key=True),
    Column("until_ms", BigInteger, primary_key=True),
    # ISO date.
    _text("day"),
    # Net quantity and average price of each chain of fills at `until_ms`.
    Column("chains", JsonText, nullable=False),
    # Sums of the day, per chain and run.
    Column("cells", JsonText, nullable=False),
)

#: Daily figures of an old program, kept as it wrote them; profit does not use them.
imported_stats = Table(
    "imported_stats",
    metadata,
    _row_id(),
    _text("account"),
    _text("exchange"),
    _text("instance_id"),
    _text("day"),
    _text("symbol"),
    # Column name to text.
    Column("figures", JsonText, nullable=False),
    UniqueConstraint("account", "instance_id", "day", "symbol"),
)

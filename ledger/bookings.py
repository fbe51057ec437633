"""What is told to the ledger: values that travel through Redis as JSON until the database has taken them.

Nothing here knows SQL, so that workers can tell something without loading it. Every booking may arrive twice,
late, or in any order: the ledger ends up with the same rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from market.instrument import Instrument
from market.orders import OrderStatus, Side
from market.position import Fill


class _Booking(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    #: As in Redis keys and logs: the venue, and a short hash of the public key.
    account: str
    #: Instance that the matter belongs to; empty: none of ours (a human's order, say).
    instance_id: str = ""
    #: Run of the instance, as far as it is known; 0: not known.
    epoch: int = 0

    @property
    def exchange(self) -> str:
        """Return the venue's name, the first part of the account's."""
        return self.account.partition(":")[0]


class OrderBooking(_Booking):
    """An order in some state of its life."""

    kind: Literal["order"] = "order"
    symbol: str
    order_id: str
    client_order_id: int | None
    #: None where the order has no client order id of ours.
    level: int | None
    role: int | None
    side: Side
    #: None for market orders.
    price: Decimal | None
    quantity: Decimal
    executed: Decimal
    status: OrderStatus
    #: Why the exchange ended it, empty where it does not say.
    reason: str = ""
    #: Exchange time of this state, ms.
    at_ms: int
    #: Exchange time of acceptance, ms; 0: not known.
    created_at_ms: int = 0


class FillBooking(_Booking):
    """One execution, unique by account, symbol, order and trade id."""

    kind: Literal["fill"] = "fill"
    symbol: str
    #: ``spot`` or ``perp``.
    market_type: str
    base_asset: str
    quote_asset: str
    trade_id: str
    order_id: str
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
    #: True: the exchange's own doing (liquidation, auto-deleveraging).
    is_system: bool = False
    #: Exchange time, ms.
    filled_at_ms: int
    #: Who saw it first: ``stream``, ``rest``, ``iteration``, ``cleanup``, ``import``.
    source: str

    @classmethod
    def of(
        cls,
        fill: Fill,
        instrument: Instrument,
        *,
        account: str,
        instance_id: str,
        epoch: int,
        level_role: tuple[int, int] | None,
        source: str,
    ) -> FillBooking:
        """Return the booking of a fill; `level_role` is None where it has no client order id of ours."""
        level, role = level_role or (None, None)
        return cls(
            account=account,
            instance_id=instance_id,
            epoch=epoch,
            symbol=fill.symbol,
            market_type=instrument.market_type.value,
            base_asset=instrument.base_asset,
            quote_asset=instrument.quote_asset,
            trade_id=fill.trade_id,
            order_id=fill.order_id,
            client_order_id=fill.client_order_id,
            level=level,
            role=role,
            side=fill.side,
            price=fill.price,
            quantity=fill.quantity,
            fee=fill.fee,
            fee_asset=fill.fee_asset,
            is_maker=fill.is_maker,
            is_system=fill.is_system,
            filled_at_ms=fill.filled_at_ms,
            source=source,
        )


class FundingBooking(_Booking):
    """A funding payment on a perpetual; unique by account, symbol and interval."""

    kind: Literal["funding"] = "funding"
    symbol: str
    #: Quote units; received is positive.
    amount: Decimal
    #: Fraction per interval.
    rate: Decimal
    #: End of the interval, exchange time, ms.
    interval_end_ms: int


class BalanceSnapshot(BaseModel):
    """What an account held of one asset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    available: Decimal
    locked: Decimal


class PositionSnapshot(BaseModel):
    """What an account held of one perpetual."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    net_quantity: Decimal
    entry_price: Decimal | None
    mark_price: Decimal | None


class SnapshotBooking(_Booking):
    """Balances and positions of an account at one moment; unique by account and time."""

    kind: Literal["snapshot"] = "snapshot"
    #: State server's time, ms.
    at_ms: int
    balances: Mapping[str, BalanceSnapshot]
    #: By symbol; flat ones may be left out.
    positions: Mapping[str, PositionSnapshot] = Field(default_factory=dict)


class ReceiptBooking(_Booking):
    """The receipt of a stop as of some attempt; a later state of it replaces an earlier one."""

    kind: Literal["receipt"] = "receipt"
    #: Empty where the configuration of the run could not be read.
    symbol: str
    #: Start of the run, state server's time, ms; 0: not known.
    started_at_ms: int
    #: When the stop was first asked for, ms; None: not known.
    requested_at_ms: int | None
    #: State server's time of this state, ms.
    updated_at_ms: int
    #: ``clean``, ``orders_left``, ``position_left`` or ``unverified``.
    result: str
    #: Attempts by then.
    attempts: int
    #: The receipt itself, JSON.
    receipt: str


class EventBooking(_Booking):
    """A lifecycle event of an instance; unique by its place in the stream of events.

    `account` is empty where the event does not name it.
    """

    kind: Literal["event"] = "event"
    #: Place in the stream: ``<ms>-<number>``.
    stream_id: str
    #: ``started``, ``limits``, ``stop_requested``, ``cleanup_claimed``, ``cleanup_step``, ``finished``,
    #: ``alert``.
    event: str
    at_ms: int
    #: The rest of what the event says, texts only.
    fields: Mapping[str, str]


Booking = Annotated[
    OrderBooking | FillBooking | FundingBooking | SnapshotBooking | ReceiptBooking | EventBooking,
    Field(discriminator="kind"),
]

_ADAPTER: TypeAdapter[Booking] = TypeAdapter(Booking)


def from_json(text: str) -> Booking:
    """Return the booking that `model_dump_json` wrote. Raises `ValueError` for anything else."""
    return _ADAPTER.validate_json(text)

"""Orders: wanted (`Quote`), to be sent (`NewOrder`), resting (`OpenOrder`), answered (`OrderResult`)."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum


class Side(StrEnum):
    """Direction of an order."""

    BUY = "buy"
    SELL = "sell"

    @property
    def opposite(self) -> Side:
        """Return the other side."""
        return Side.SELL if self is Side.BUY else Side.BUY


class TimeInForce(StrEnum):
    """How long an order may rest."""

    #: Until cancelled.
    GTC = "gtc"
    #: Fills at once what it can, the rest is dropped.
    IOC = "ioc"
    #: Fills at once as a whole, or not at all.
    FOK = "fok"


class OrderType(StrEnum):
    """Whether an order names its price."""

    LIMIT = "limit"
    MARKET = "market"


class OrderStatus(StrEnum):
    """State of an order as the exchange tells it."""

    NEW = "new"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELLED = "cancelled"
    #: Ended by the exchange itself: IOC remainder, post-only that would take, self-trade.
    EXPIRED = "expired"
    #: A conditional order that waits for its trigger price.
    TRIGGER_PENDING = "trigger_pending"
    TRIGGER_FAILED = "trigger_failed"

    @property
    def is_open(self) -> bool:
        """Tell whether an order in this state can still be filled."""
        return self in {OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED, OrderStatus.TRIGGER_PENDING}


class Role(IntEnum):
    """What an order is for. Two bits of the client order id, so at most four."""

    #: A maker order of a ladder or grid.
    QUOTE = 0
    #: The order that takes profit or closes what a quote opened.
    CLOSE = 1
    #: Brings inventory or position back to its target, usually as a taker.
    HEDGE = 2
    #: Sent by a cleanup that follows the position policy.
    CLEANUP = 3


def role_name(role: int | None) -> str | None:
    """Return what an order was for, None where it is not known."""
    if role is None:
        return None
    return Role(role).name.lower() if role in {int(known) for known in Role} else str(role)


@dataclass(frozen=True, kw_only=True)
class Quote:
    """A price and quantity a strategy wants to have on one side; not yet an order."""

    side: Side
    price: Decimal
    quantity: Decimal
    #: Index outwards from the touch, 0 is the innermost; grids use the level's own index. 0-255.
    level: int
    role: Role = Role.QUOTE
    post_only: bool = True
    reduce_only: bool = False
    time_in_force: TimeInForce = TimeInForce.GTC


@dataclass(frozen=True, kw_only=True)
class NewOrder:
    """An order ready to be sent, apart from the authorised time it is signed with."""

    client_order_id: int
    symbol: str
    side: Side
    order_type: OrderType
    quantity: Decimal
    #: None for market orders only.
    price: Decimal | None
    time_in_force: TimeInForce = TimeInForce.GTC
    post_only: bool = False
    reduce_only: bool = False


@dataclass(frozen=True, kw_only=True)
class OpenOrder:
    """An order as the exchange reports it, resting unless `status` says otherwise."""

    order_id: str
    #: None when its owner gave none: then it is never ours.
    client_order_id: int | None
    symbol: str
    side: Side
    price: Decimal | None
    quantity: Decimal
    executed_quantity: Decimal
    status: OrderStatus
    #: Exchange time, ms since the epoch.
    created_at_ms: int

    @property
    def remaining_quantity(self) -> Decimal:
        """Return the quantity that can still be filled."""
        return self.quantity - self.executed_quantity


class CancelOutcome(Enum):
    """What an exchange answered to a cancel."""

    #: The order is cancelled.
    CANCELLED = "cancelled"
    #: Accepted, not yet executed (HTTP 202): look again.
    ACCEPTED = "accepted"
    #: No such resting order: filled, cancelled or expired before.
    ALREADY_GONE = "already_gone"
    #: The exchange will not cancel it, for a reason that is not the order's state.
    REFUSED = "refused"


@dataclass(frozen=True, kw_only=True)
class CancelAnswer:
    """An exchange's answer to a cancel, with the order as it ended where the answer shows it."""

    outcome: CancelOutcome
    #: What was executed of the order in all; None: the answer does not say.
    executed_quantity: Decimal | None = None

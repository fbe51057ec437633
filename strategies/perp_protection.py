"""How much a perpetual market maker holds, and when it has to give some of it up at once."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from market.orders import Role
from market.position import Position
from market.snapshot import Snapshot

#: How long the exchange's position may differ from what own fills make of it before it is believed: until
#: then one of the two is taken to lag, afterwards somebody else has traded on the account.
_LAG_LIMIT_MS = 15_000


class Cause(StrEnum):
    """Why a position is being closed."""

    STOP_LOSS = "stop_loss"
    TAKE_PROFIT = "take_profit"


class Closing(BaseModel):
    """A protective close that goes on until the position is flat."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cause: Cause
    #: Unrealised profit that set it off, quote units.
    unrealized: Decimal


class Carried(BaseModel):
    """Bounds of the part of the exchange's position that this run did not make, signed, base units."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: Decimal
    high: Decimal
    #: Since when the position and the own fills tell different stories, ms since the epoch; None: they agree.
    differs_since_ms: int | None = None


@dataclass(frozen=True, kw_only=True)
class NetRange:
    """Between which net quantities the position is, signed, base units. One value when all is known."""

    low: Decimal
    high: Decimal

    @property
    def certain(self) -> Decimal:
        """Return the part of the position that is there in any case; zero when not even its side is sure."""
        if self.low > 0:
            return self.low
        return min(self.high, Decimal(0))


def carried_now(snapshot: Snapshot, position: Position, carried: Carried | None) -> Carried:
    """Return what of `position` was not made by this run, once a difference has lasted or none is left."""
    now_ms, held, own = snapshot.taken_at_ms, position.net_quantity, snapshot.profit.net
    if carried is None:
        # With fills before the first state was saved, nobody knows how many of them the position has.
        bought = sum((totals.bought for totals in snapshot.totals.values()), Decimal(0))
        sold = sum((totals.sold for totals in snapshot.totals.values()), Decimal(0))
        return Carried(
            low=held - own - sold,
            high=held - own + bought,
            differs_since_ms=now_ms if bought or sold else None,
        )
    settled = Carried(low=held - own, high=held - own)
    if carried.low == carried.high == settled.low:
        return settled
    since_ms = carried.differs_since_ms
    if since_ms is None or since_ms > now_ms:
        return carried.model_copy(update={"differs_since_ms": now_ms})
    if now_ms - since_ms < _LAG_LIMIT_MS or snapshot.unsettled:
        return carried
    return settled


def net_range(snapshot: Snapshot, position: Position, carried: Carried) -> NetRange:
    """Return the bounds of the net quantity.

    The position and the own fills are two reads that can lag; what lies between them is possible. A
    reducing order whose fate is unknown may bring the position anywhere down to zero.
    """
    low = min(position.net_quantity, carried.low + snapshot.profit.net)
    high = max(position.net_quantity, carried.high + snapshot.profit.net)
    if (0, int(Role.HEDGE)) in snapshot.unsettled:
        low, high = min(low, Decimal(0)), max(high, Decimal(0))
    return NetRange(low=low, high=high)


def excess(held: Decimal, *, target: Decimal, threshold: Decimal, cap: Decimal) -> Decimal:
    """Return the change that brings `held` back to its line, zero when it is within it; all in base units.

    The line is `cap` for a position beyond it, else `target` + `threshold`, whatever the side.
    """
    size = abs(held)
    line = cap if size > cap else target + threshold
    too_much = max(size - line, Decimal(0))
    return -too_much if held > 0 else too_much


def unrealized(position: Position, price: Decimal | None) -> Decimal:
    """Return the position's open profit, quote units: the exchange's figure, or at `price` when that is 0."""
    if position.unrealized_pnl != 0 or position.entry_price is None or price is None:
        return position.unrealized_pnl
    return (price - position.entry_price) * position.net_quantity


def cause_to_close(
    profit: Decimal, *, stop_loss: Decimal | None, take_profit: Decimal | None
) -> Closing | None:
    """Return the protective close that an open profit asks for, None when it asks for none."""
    if stop_loss is not None and profit <= -stop_loss:
        return Closing(cause=Cause.STOP_LOSS, unrealized=profit)
    if take_profit is not None and profit >= take_profit:
        return Closing(cause=Cause.TAKE_PROFIT, unrealized=profit)
    return None

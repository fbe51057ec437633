"""How much of a perpetual position a market maker may trade away, and when it has to do so at once."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from market.position import Position
from market.snapshot import Snapshot

_ZERO = Decimal(0)


class Cause(StrEnum):
    """Why a position is being closed."""

    STOP_LOSS = "stop_loss"
    TAKE_PROFIT = "take_profit"


class Closing(BaseModel):
    """A protective close that goes on until nothing is left to close."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cause: Cause
    #: Unrealised profit that set it off, quote units.
    unrealized: Decimal


def certainly_tradable(snapshot: Snapshot) -> Decimal:
    """Return what may be traded away and is there in any case: signed, base units.

    With `exclusive_symbol` it is the account's position. Else it is what this run made, as far as the
    account's position has the same sign: what others hold is theirs. Where position and own fills tell
    different stories, either can be the one that lags, so their difference is left alone.
    """
    net, own = snapshot.net, snapshot.profit.net
    if snapshot.exclusive_symbol:
        return net.certain
    if own * net.certain <= 0:
        return _ZERO
    sure = max(abs(own) - (net.high - net.low), _ZERO)
    size = min(sure, abs(net.certain))
    return size if own > 0 else -size


def left_to_close(snapshot: Snapshot, position: Position) -> Decimal:
    """Return the most that a protective close may still have to trade away: signed, base units.

    With `exclusive_symbol` it is the account's position, else what this run made, as far as the account can
    have it: what others have turned to the other side is no longer there to be reduced.
    """
    if snapshot.exclusive_symbol:
        return position.net_quantity
    own = snapshot.profit.net
    return max(min(own, snapshot.net.high), _ZERO) if own > 0 else min(max(own, snapshot.net.low), _ZERO)


def excess(held: Decimal, *, target: Decimal | None, threshold: Decimal, cap: Decimal) -> Decimal:
    """Return the change that brings `held` back to its line, zero when it is within it; all in base units.

    The line is `cap` for a position beyond it, else `target` + `threshold`, whatever the side. Without a
    target it is always `cap`.
    """
    size = abs(held)
    line = cap if target is None or size > cap else target + threshold
    too_much = max(size - line, _ZERO)
    return -too_much if held > 0 else too_much


def unrealized(position: Position, price: Decimal | None) -> Decimal:
    """Return the position's open profit, quote units: the exchange's figure, or at `price` when that is 0."""
    if position.unrealized_pnl != 0 or position.entry_price is None or price is None:
        return position.unrealized_pnl
    return (price - position.entry_price) * position.net_quantity


def cause_to_close(
    snapshot: Snapshot, position: Position, *, stop_loss: Decimal | None, take_profit: Decimal | None
) -> Closing | None:
    """Return the protective close that the open profit asks for, None when it asks for none.

    There are two figures: that of own fills, and the exchange's, which it may reset by settling profits.
    The lower one sets off a stop-loss, the own one a take-profit. Where own fills do not explain the
    position, the exchange's decides a take-profit with `exclusive_symbol`, and counts for nothing without:
    it is others' profit then.
    """
    shown = unrealized(position, snapshot.price)
    own = shown if snapshot.price is None else snapshot.profit.unrealized(snapshot.price)
    worst, best = min(own, shown), own
    if abs(position.net_quantity - snapshot.profit.net) >= snapshot.instrument.min_quantity:
        if snapshot.exclusive_symbol:
            best = shown
        elif snapshot.price is None:
            return None
        else:
            worst = own
    if stop_loss is not None and worst <= -stop_loss:
        return Closing(cause=Cause.STOP_LOSS, unrealized=worst)
    if take_profit is not None and best >= take_profit:
        return Closing(cause=Cause.TAKE_PROFIT, unrealized=best)
    return None

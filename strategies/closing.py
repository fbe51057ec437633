"""Closing what a run has made of a perpetual position, and nothing that is others'."""

from __future__ import annotations

from decimal import Decimal

from market.net_range import LAG_LIMIT_MS
from market.snapshot import Snapshot
from strategies.base import TakerOrder
from strategies.taking import protected_taker


def close_own(
    snapshot: Snapshot, *, slippage_bps: Decimal, net: Decimal | None = None, reason: str = "close"
) -> TakerOrder | None:
    """Return the reduce-only order that closes what this run made; None when nothing of it is left.

    `net` is what to close where that is not the run's own net: signed, base units. Never more than the
    exchange's position. A position that is flat or of the other side can lag behind a fill: while a new own
    fill is younger than `LAG_LIMIT_MS`, or `Snapshot.net` still allows for it, the order is returned all the
    same, and the exchange refuses it where there is nothing to reduce. Later it is believed: somebody else
    has closed it. None too when the position is not known, or what is left is too small to be an order.
    """
    own = snapshot.profit.net if net is None else net
    if own == 0 or snapshot.position is None:
        return None
    held = snapshot.position.net_quantity
    if held != 0 and (held > 0) == (own > 0):
        own = min(own, held, key=abs)
    elif not _may_be_there(snapshot, own):
        return None
    return protected_taker(snapshot, -own, slippage_bps=slippage_bps, reason=reason, reduce_only=True)


def _may_be_there(snapshot: Snapshot, own: Decimal) -> bool:
    """Tell whether the position read may be without the newest own fills."""
    if any(snapshot.taken_at_ms - fill.filled_at_ms < LAG_LIMIT_MS for fill in snapshot.fills):
        return True
    # A decision that ended the run has seen its fills: they are not new any more.
    return snapshot.net.high > 0 if own > 0 else snapshot.net.low < 0

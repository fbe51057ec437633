"""Orders that trade at once, never without a worst price."""

from __future__ import annotations

from decimal import Decimal

from market.instrument import MarketType
from market.orders import Side
from market.snapshot import Snapshot
from strategies import quoting
from strategies.base import TakerOrder
from strategies.quoting import BPS


def protected_taker(
    snapshot: Snapshot, change: Decimal, *, slippage_bps: Decimal, reason: str, reduce_only: bool = False
) -> TakerOrder | None:
    """Return the immediate-or-cancel order that changes what is held by `change` (signed, base units).

    It trades at most `slippage_bps` beyond the best price. None: there is nobody to trade with, the price
    is not allowed, or `change` is too small to be an order. `reduce_only` has a meaning on perpetuals only.
    """
    instrument, book = snapshot.instrument, snapshot.book
    side = Side.BUY if change > 0 else Side.SELL
    touch = book.best_ask if side is Side.BUY else book.best_bid
    quantity = quoting.capped(abs(change), instrument)
    if touch is None or quantity <= 0 or quantity < instrument.min_quantity:
        return None
    sign = 1 if side is Side.BUY else -1
    # Rounded towards the touch: the bound is a promise.
    limit_price = instrument.round_price(touch * (1 + sign * slippage_bps / BPS), side)
    limit_price = max(limit_price, touch) if side is Side.BUY else min(limit_price, touch)
    if not quoting.is_valid_price(limit_price, instrument):
        return None
    return TakerOrder(
        side=side,
        quantity=quantity,
        limit_price=limit_price,
        reduce_only=reduce_only and instrument.market_type is MarketType.PERP,
        reason=reason,
    )

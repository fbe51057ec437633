"""Bring a spot account's mix of base and quote asset back to its target."""

from __future__ import annotations

from decimal import Decimal

from market.orders import Side
from market.snapshot import Snapshot
from strategies import quoting
from strategies.base import TakerOrder
from strategies.quoting import BPS, Funds, Rounding

#: The part of an asset that one order may use at most.
_LARGEST_SHARE = Decimal("0.95")

#: Accounts worth less than this many minimum orders are left alone.
_SMALLEST_ACCOUNT = 10


def deviation_percent(funds: Funds, mid: Decimal, target_percent: Decimal) -> Decimal:
    """Return how far the base asset's part of the total value is above its target, percentage points.

    Negative: below it. Zero for an account that is worth nothing.
    """
    base_value = funds.base_total * mid
    total = funds.quote_total + base_value
    return base_value / total * 100 - target_percent if total > 0 else Decimal(0)


def back_to_target(
    snapshot: Snapshot,
    funds: Funds,
    *,
    target_percent: Decimal,
    threshold_percent: Decimal,
    slippage_bps: Decimal,
    rounding: Rounding,
) -> TakerOrder | None:
    """Return the immediate-or-cancel order that brings the mix back, None when it is close enough.

    The mix is the base asset's part of the total value at the mid; it is close enough up to
    `threshold_percent` percentage points from `target_percent`. The order trades at most
    `slippage_bps` beyond the best price and uses no funds that are held elsewhere.
    """
    book, instrument = snapshot.book, snapshot.instrument
    if book.mid is None or book.best_bid is None or book.best_ask is None:
        return None
    base_value = funds.base_total * book.mid
    total = funds.quote_total + base_value
    if total <= 0 or total < _SMALLEST_ACCOUNT * instrument.min_quantity * book.mid:
        return None
    excess = base_value - total * target_percent / 100
    if abs(excess) / total * 100 <= threshold_percent:
        return None

    slippage = slippage_bps / BPS
    if excess > 0:
        side, worst = Side.SELL, book.best_bid * (1 - slippage)
    else:
        side, worst = Side.BUY, book.best_ask * (1 + slippage)
    limit_price = quoting.on_tick(worst, side, instrument, rounding)
    if not quoting.is_valid_price(limit_price, instrument):
        return None
    if side is Side.SELL:
        most = min(_LARGEST_SHARE * funds.base_total, funds.base_spendable)
    else:
        most = min(_LARGEST_SHARE * funds.quote_total / book.best_ask, funds.quote_spendable / limit_price)
    quantity = quoting.capped(min(abs(excess) / book.mid, most), instrument)
    if quantity <= 0 or quantity < instrument.min_quantity:
        return None
    return TakerOrder(side=side, quantity=quantity, limit_price=limit_price, reason="rebalance")

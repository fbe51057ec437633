"""What an account holds: balances (spot), positions (perpetuals), fills, funding."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from market.orders import Side


@dataclass(frozen=True, kw_only=True)
class Balance:
    """Holding of one asset."""

    asset: str
    available: Decimal
    #: Held by open orders.
    locked: Decimal

    @property
    def total(self) -> Decimal:
        """Return available plus locked."""
        return self.available + self.locked


@dataclass(frozen=True, kw_only=True)
class Position:
    """A perpetual position; long is positive, flat is zero."""

    symbol: str
    net_quantity: Decimal
    #: None when flat.
    entry_price: Decimal | None = None
    mark_price: Decimal | None = None
    unrealized_pnl: Decimal = Decimal(0)


@dataclass(frozen=True, kw_only=True)
class Fill:
    """One execution of an order of ours, or a part of it."""

    trade_id: str
    order_id: str
    client_order_id: int | None
    symbol: str
    side: Side
    price: Decimal
    quantity: Decimal
    fee: Decimal
    fee_asset: str
    is_maker: bool
    #: Exchange time, ms since the epoch.
    filled_at_ms: int
    #: True: the exchange made it of its own accord (liquidation, auto-deleveraging, ...), nobody's order did.
    is_system: bool = False


@dataclass(frozen=True, kw_only=True)
class FundingPayment:
    """What one interval of holding a perpetual position brought or cost."""

    symbol: str
    #: Positive: received; negative: paid. Quote units.
    amount: Decimal
    #: Fraction of the notional, for the interval; when positive, longs pay.
    rate: Decimal
    #: When the interval ended, exchange time, ms since the epoch.
    interval_end_ms: int

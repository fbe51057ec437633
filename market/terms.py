"""What an exchange charges an account, and how far it lets it go into debt."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from market.instrument import MarketType


@dataclass(frozen=True, kw_only=True)
class AccountTerms:
    """Fees in basis points of the notional (negative: a rebate), and the leverage limit."""

    spot_maker_bps: Decimal
    spot_taker_bps: Decimal
    perp_maker_bps: Decimal
    perp_taker_bps: Decimal
    #: Notional of perpetual positions that one unit of equity may carry.
    leverage_limit: Decimal

    def fee_bps(self, market_type: MarketType, *, is_maker: bool) -> Decimal:
        """Return the fee of one fill on a market of this type, in basis points."""
        if market_type is MarketType.PERP:
            return self.perp_maker_bps if is_maker else self.perp_taker_bps
        return self.spot_maker_bps if is_maker else self.spot_taker_bps

"""What the exchange trades of its own accord: part of a perpetual position, on its book."""

from __future__ import annotations

from decimal import Decimal

from simulator.accounts import Account
from simulator.engine import Engine
from simulator.errors import Refusal
from simulator.markets import Market
from simulator.orders import Order, Wanted

ON_BOOK = "LiquidatePositionOnBook"
#: Values of `fillType` that ask for such fills; what tells the last two apart is not documented.
FILL_TYPES_ON_BOOK = frozenset({"BookLiquidation", "Liquidation", "AllLiquidation"})
FILL_TYPES = FILL_TYPES_ON_BOOK | {
    "User",
    "Adl",
    "Backstop",
    "CollateralConversion",
    "CollateralConversionAndSpotLiquidation",
}


def liquidate(engine: Engine, account: Account, market: Market, quantity: Decimal, *, at_ms: int) -> Order:
    """Close up to `quantity` of a position as a taker would, from the touch on, and return the order.

    The account's own resting orders are passed over, and shrink or expire as with any other fill when they
    are reduce-only. Raises `Refusal` when there is no position.
    """
    net = account.net(market.symbol)
    if net == 0:
        raise Refusal("INVALID_ORDER", f"{account.name} has no position in {market.symbol}")
    wanted = Wanted(
        market=market,
        side="Ask" if net > 0 else "Bid",
        order_type="Market",
        price=None,
        quantity=quantity,
        quote_quantity=None,
        client_id=None,
        time_in_force="GTC",
        post_only=False,
        reduce_only=True,
        self_trade_prevention="PassOver",
        system_order_type=ON_BOOK,
    )
    return engine.place(account, wanted, signed_at_ms=at_ms, window_ms=None)


def is_of_type(fill_type: str, system_order_type: str | None) -> bool:
    """Tell whether a fill of an order of this kind is asked for by `fillType`."""
    if system_order_type is None:
        return fill_type == "User"
    return system_order_type == ON_BOOK and fill_type in FILL_TYPES_ON_BOOK

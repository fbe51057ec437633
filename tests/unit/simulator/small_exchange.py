"""A simulated exchange small enough to reason about: a clock that is set, no outside market, two accounts."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from simulator import accounts
from simulator.accounts import Account
from simulator.engine import Engine
from simulator.journal import Journal
from simulator.order_request import parse_order
from simulator.orders import Fill, Order

SPOT = "SOL_USDC"
PERP = "SOL_USDC_PERP"
START_MS = 1_000_000


class SmallExchange:
    """An engine with its clock and journal in reach."""

    def __init__(self, **engine: Any) -> None:
        self.now_ms = START_MS
        self.journal = Journal(lambda: self.now_ms * 1000)
        self.engine = Engine(lambda: self.now_ms, self.journal, accounts.built_in(), **engine)

    @property
    def demo(self) -> Account:
        return self.engine.accounts["demo"]

    @property
    def other(self) -> Account:
        return self.engine.accounts["other"]

    def show(
        self, bid: str, ask: str, *, symbol: str = SPOT, bid_quantity: str = "5", ask_quantity: str = "5"
    ) -> None:
        """Set the outside market's touch."""
        self.engine.outside_quote(
            symbol, Decimal(bid), Decimal(bid_quantity), Decimal(ask), Decimal(ask_quantity)
        )

    def trade(self, price: str, quantity: str, *, sells: bool, symbol: str = SPOT) -> None:
        """Let the outside market trade."""
        self.engine.outside_trade(symbol, Decimal(price), Decimal(quantity), aggressor_sells=sells)

    def place(
        self,
        account: Account,
        side: str = "Bid",
        price: str | None = "100",
        quantity: str | None = "1",
        **fields: Any,
    ) -> Order:
        """Place a limit order, or without a price a market order, signed now."""
        body: dict[str, Any] = {
            "symbol": SPOT,
            "side": side,
            "orderType": "Market" if price is None else "Limit",
            "price": price,
            "quantity": quantity,
        }
        return self.engine.place(
            account, parse_order(body | fields), signed_at_ms=self.now_ms, window_ms=5_000
        )

    def fills(self) -> list[Fill]:
        """Return everybody's fills in the order of their trades, of one trade the taker's first."""
        found = [fill for name in self.engine.accounts for fill in self.engine.fills.rows(name)]
        return sorted(found, key=lambda fill: (fill.trade_id, fill.maker))

    def events(self, event: str) -> list[dict[str, Any]]:
        """Return the journal's entries of one kind."""
        return [entry for entry in self.journal.since(0) if entry["event"] == event]

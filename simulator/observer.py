"""What the engine announces while it works, for who wants to hear of it. It waits for nobody."""

from __future__ import annotations

from decimal import Decimal

from simulator.accounts import Account
from simulator.book import Trade
from simulator.orders import Fill, Order


class Observer:
    """Hears everything and does nothing; who listens overrides what concerns him.

    Orders, accounts and books change on after the call: what is said of them has to be read at once.
    """

    def order_changed(self, event: str, order: Order) -> None:
        """Hear of ``orderAccepted``, ``orderCancelled``, ``orderExpired`` or ``orderModified``."""

    def filled(self, fill: Fill) -> None:
        """Hear of an account's fill; balances and position have it already."""

    def traded(self, symbol: str, trade: Trade) -> None:
        """Hear of a public trade, before the fills that it is made of."""

    def book_touched(self, symbol: str) -> None:
        """Hear that what a market displays may have changed."""

    def position_changed(self, account: Account, symbol: str, before: Decimal) -> None:
        """Hear of a position; `before` is the signed quantity it had."""

    def balance_changed(self, account: Account, asset: str) -> None:
        """Hear that an asset's balance, or what open orders hold of it, changed."""

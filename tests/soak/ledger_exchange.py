"""What a chaos run asks of the simulated exchange beside faults: broken streams, funding, trades in parts."""

from __future__ import annotations

import random
from decimal import Decimal

from tests.acceptance.simulated_exchange import SimulatedExchange

#: Side of the aggressor whose trade fills an order of this side.
AGAINST = {"Bid": "Ask", "Ask": "Bid"}


class ChaosExchange(SimulatedExchange):
    """Talks to `/sim/...`."""

    def disconnect(self, *, abort: bool) -> int:
        """End every stream connection, with a reset if `abort`; return how many there were."""
        return int(self._call("POST", "/sim/streams/disconnect", json={"abort": abort})["closed"])

    def pay_funding(self, symbol: str, rate: str) -> int:
        """Settle a funding interval of a perpetual; return how many accounts paid or were paid."""
        return len(self._call("POST", "/sim/funding", json={"symbol": symbol, "rate": rate}))

    def trade_in_parts(self, symbol: str, dice: random.Random, *, parts: int, least: Decimal) -> None:
        """Let others trade with the best resting order of one side, a part at a time."""
        side = dice.choice(("Bid", "Ask"))
        orders = [
            (Decimal(order["price"]), Decimal(order["quantity"]) - Decimal(order["executed"]))
            for order in self._call("GET", "/sim/orders", params={"account": "demo"})
            if order["symbol"] == symbol and order["side"] == side
        ]
        if not orders:
            return
        price, remaining = (max if side == "Bid" else min)(orders)
        part = max(least, (remaining / 10) // least * least)
        for _ in range(min(parts, int(remaining / part))):
            self.trade(symbol, AGAINST[side], str(price), str(part))

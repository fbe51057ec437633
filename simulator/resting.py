"""The orders on the books, found by market, account, order id or client order id without a search."""

from __future__ import annotations

from collections import deque

from simulator.accounts import Account
from simulator.markets import MARKETS
from simulator.orders import Order

#: Orders that ended lately, for lists that lag.
ENDED_KEPT = 50_000


class RestingOrders:
    """Every order that rests, and for a while those that did."""

    def __init__(self) -> None:
        self._by_symbol: dict[str, dict[int, Order]] = {symbol: {} for symbol in MARKETS}
        self._by_account: dict[str, dict[int, Order]] = {}
        self._by_client_id: dict[tuple[str, int], Order] = {}
        self._ended: deque[Order] = deque(maxlen=ENDED_KEPT)

    def add(self, order: Order) -> None:
        """Put an order on the book."""
        self._by_symbol[order.symbol][order.order_id] = order
        self._by_account.setdefault(order.account.name, {})[order.order_id] = order
        if order.wanted.client_id is not None:
            self._by_client_id[order.account.name, order.wanted.client_id] = order

    def remove(self, order: Order) -> bool:
        """Take an order that has ended off the book; tell whether it was on it."""
        if self._by_symbol[order.symbol].pop(order.order_id, None) is None:
            return False
        del self._by_account[order.account.name][order.order_id]
        if order.wanted.client_id is not None:
            del self._by_client_id[order.account.name, order.wanted.client_id]
        self._ended.append(order)
        return True

    def of_account(self, account: Account, symbol: str | None = None) -> list[Order]:
        """Return an account's orders, oldest first."""
        orders = self._by_account.get(account.name, {}).values()
        return [order for order in orders if symbol in {None, order.symbol}]

    def of_account_at(self, account: Account, at_ms: int) -> list[Order]:
        """Return what rested at `at_ms`: with what ended since, without what is younger."""
        found = [order for order in self.of_account(account) if order.created_at_ms <= at_ms]
        for order in reversed(self._ended):
            if order.ended_at_ms is None or order.ended_at_ms <= at_ms:
                break
            if order.account is account and order.created_at_ms <= at_ms:
                found.append(order)
        return sorted(found, key=_age)

    def of_symbol(self, symbol: str) -> list[Order]:
        """Return everybody's orders on a market, oldest first."""
        return list(self._by_symbol[symbol].values())

    def side(self, symbol: str, *, bids: bool) -> list[Order]:
        """Return everybody's orders on one side of a market in price-time priority."""
        found = [order for order in self._by_symbol[symbol].values() if order.wanted.buys is bids]
        sign = -1 if bids else 1
        return sorted(found, key=lambda order: (sign * order.price, order.order_id))

    def by_order_id(self, account: Account, order_id: int) -> Order | None:
        """Return an account's order."""
        return self._by_account.get(account.name, {}).get(order_id)

    def by_client_id(self, account: Account, client_id: int) -> Order | None:
        """Return an account's order."""
        return self._by_client_id.get((account.name, client_id))


def _age(order: Order) -> int:
    return order.order_id

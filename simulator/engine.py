"""The matching engine: pure, with the clock passed in. One command stream, price-time priority."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal

from simulator.accounts import Account
from simulator.book import OutsideBook, Trade
from simulator.checks import check_filters, check_funds, reduced_quantity
from simulator.errors import Refusal, not_found
from simulator.journal import Journal
from simulator.markets import MARKETS
from simulator.orders import Fill, Order, Wanted
from simulator.settlement import release, reserve, settle

#: How far in the future a request may be stamped.
LONGEST_LEAD_MS = 600_000


class Engine:
    """Every book and every order."""

    def __init__(
        self,
        now_ms: Callable[[], int],
        journal: Journal,
        accounts: dict[str, Account],
        *,
        post_only_expires: bool = False,
    ) -> None:
        self._now_ms = now_ms
        self._journal = journal
        self._post_only_expires = post_only_expires
        self._next_id = 1000
        self._next_trade = 1
        self.accounts = accounts
        self.books = {symbol: OutsideBook(market=market) for symbol, market in MARKETS.items()}
        #: Every order ever accepted, oldest first.
        self.orders: list[Order] = []
        self._resting: dict[str, list[Order]] = {symbol: [] for symbol in MARKETS}
        self.fills: list[Fill] = []

    def place(self, account: Account, wanted: Wanted, *, signed_at_ms: int, window_ms: int) -> Order:
        """Accept an order, match it, and rest what is left. Raises `Refusal`; then nothing happened."""
        try:
            self.check_time(signed_at_ms, window_ms)
            order = self._accept(account, wanted, signed_at_ms)
        except Refusal as refusal:
            self._journal.write(
                "order_refused",
                account=account.name,
                symbol=wanted.market.symbol,
                client_id=wanted.client_id,
                side=wanted.side,
                code=refusal.code,
                message=refusal.message,
                signed_at_ms=signed_at_ms,
            )
            raise
        return order

    def check_time(self, signed_at_ms: int, window_ms: int) -> None:
        """Raise `Refusal` when a request is too old for its window, or from the future."""
        now_ms = self._now_ms()
        if now_ms > signed_at_ms + window_ms:
            raise Refusal("INVALID_CLIENT_REQUEST", "Request has expired")
        if signed_at_ms > now_ms + LONGEST_LEAD_MS:
            raise Refusal(
                "INVALID_CLIENT_REQUEST", "Invalid timestamp: must be within 10 minutes of current time"
            )

    def _accept(self, account: Account, wanted: Wanted, signed_at_ms: int) -> Order:
        book = self.books[wanted.market.symbol]
        check_filters(wanted, book)
        self._check_client_id(account, wanted)
        matchable = self._matchable(wanted)
        quantity = self._quantity(wanted, matchable)
        if wanted.reduce_only:
            quantity = reduced_quantity(account, wanted, quantity)
        crosses = bool(matchable)
        if wanted.post_only and crosses and not self._post_only_expires:
            raise Refusal("INVALID_ORDER", "Order would immediately match and take")
        if wanted.time_in_force == "FOK" and _total(matchable) < quantity:
            raise Refusal("INVALID_ORDER", "Fill or kill order would not complete fill immediately")
        if wanted.order_type == "Market" and not crosses:
            raise Refusal("INVALID_ORDER", "No liquidity for market order")
        check_funds(account, wanted, quantity, matchable, self.open_orders(account, wanted.market.symbol))
        order = self._new(account, wanted, quantity, signed_at_ms, book)
        self._journal.write("order_accepted", **order.witness())
        if wanted.post_only and crosses:
            self._end(order, "Expired", "PostOnlyTaker")
            return order
        reserve(order)
        if crosses:
            self._take(order)
        self._rest_or_end(order)
        return order

    def _quantity(self, wanted: Wanted, matchable: list[tuple[Decimal, Decimal, Order | None]]) -> Decimal:
        if wanted.quantity is not None:
            return wanted.quantity
        if wanted.quote_quantity is None or not matchable:
            raise Refusal("INVALID_ORDER", "No liquidity for market order")
        step = wanted.market.step
        return wanted.quote_quantity / matchable[0][0] // step * step

    def _new(
        self, account: Account, wanted: Wanted, quantity: Decimal, signed_at_ms: int, book: OutsideBook
    ) -> Order:
        self._next_id += 1
        order = Order(
            order_id=self._next_id,
            account=account,
            wanted=wanted,
            quantity=quantity,
            created_at_ms=self._now_ms(),
            signed_at_ms=signed_at_ms,
        )
        if wanted.price is not None:
            order.ahead = book.displayed_at(wanted.price, bids=wanted.buys)
        self.orders.append(order)
        return order

    def _check_client_id(self, account: Account, wanted: Wanted) -> None:
        # Undocumented on the real exchange: refusing duplicates among open orders is our assumption.
        if wanted.client_id is None:
            return
        if any(order.wanted.client_id == wanted.client_id for order in self.open_orders(account)):
            raise Refusal("INVALID_CLIENT_REQUEST", "Client order id is already in use")

    def _matchable(self, wanted: Wanted) -> list[tuple[Decimal, Decimal, Order | None]]:
        """Return (price, quantity, resting order or None for the outside) that it can take, best first."""
        symbol = wanted.market.symbol
        outside = [(price, q, 0, None) for price, q in self.books[symbol].levels(bids=not wanted.buys)]
        ours = [
            (order.price, order.remaining, order.order_id, order)
            for order in self._resting[symbol]
            if order.wanted.buys != wanted.buys
        ]
        found: list[tuple[Decimal, Decimal, int, Order | None]] = [*outside, *ours]
        limit = wanted.price
        if limit is not None:
            found = [f for f in found if (f[0] <= limit if wanted.buys else f[0] >= limit)]
        found.sort(key=lambda f: (f[0] if wanted.buys else -f[0], f[2]))
        return [(price, quantity, order) for price, quantity, _, order in found]

    def _take(self, order: Order) -> None:
        for price, available, maker in self._matchable(order.wanted):
            if order.remaining <= 0 or not order.rests:
                return
            if maker is not None and maker.account is order.account:
                self._prevent_self_trade(order, maker)
                continue
            quantity = min(order.remaining, available)
            if quantity <= 0:
                continue
            self._fill(order, price, quantity, maker=False)
            if maker is not None:
                self._fill(maker, price, quantity, maker=True)
                self._finish_if_filled(maker)
            self._public_trade(order, price, quantity)

    def _prevent_self_trade(self, taker: Order, maker: Order) -> None:
        rule = taker.wanted.self_trade_prevention
        if rule in {"RejectMaker", "RejectBoth"}:
            self._end(maker, "Expired", "SelfTradePrevention")
        if rule in {"RejectTaker", "RejectBoth"}:
            self._end(taker, "Expired", "SelfTradePrevention")

    def _rest_or_end(self, order: Order) -> None:
        if not order.rests:
            return
        if order.remaining <= 0:
            self._end(order, "Filled", None)
        elif order.wanted.order_type == "Market" or order.wanted.time_in_force != "GTC":
            self._end(order, "Expired", "ImmediateOrCancel")
        else:
            order.status = "PartiallyFilled" if order.executed else "New"
            self._resting[order.wanted.market.symbol].append(order)

    def _fill(self, order: Order, price: Decimal, quantity: Decimal, *, maker: bool) -> None:
        order.executed += quantity
        order.executed_quote += price * quantity
        order.status = "Filled" if order.remaining <= 0 else "PartiallyFilled"
        fee, fee_asset = settle(order, price, quantity, maker=maker)
        fill = Fill(
            trade_id=self._next_trade,
            order=order,
            price=price,
            quantity=quantity,
            fee=fee,
            fee_asset=fee_asset,
            maker=maker,
            at_ms=self._now_ms(),
        )
        self.fills.append(fill)
        self._journal.write(
            "fill",
            **order.witness() | {"price": str(price), "quantity": str(quantity)},
            trade_id=self._next_trade,
            fee=str(fee),
            fee_asset=fee_asset,
            maker=maker,
        )
        self._next_trade += 1

    def _public_trade(self, taker: Order, price: Decimal, quantity: Decimal) -> None:
        book = self.books[taker.wanted.market.symbol]
        book.trades.append(
            Trade(
                trade_id=self._next_trade,
                price=price,
                quantity=quantity,
                buyer_is_maker=not taker.wanted.buys,
                at_ms=self._now_ms(),
            )
        )

    def _finish_if_filled(self, order: Order) -> None:
        if order.rests and order.remaining <= 0:
            self._end(order, "Filled", None)

    def _end(self, order: Order, status: str, reason: str | None) -> None:
        order.status = status
        order.expiry_reason = reason
        order.ended_at_ms = self._now_ms()
        release(order)
        resting = self._resting[order.wanted.market.symbol]
        if order in resting:
            resting.remove(order)
        if status in {"Cancelled", "Expired"}:
            self._journal.write(f"order_{status.lower()}", **order.witness(), reason=reason)

    def cancel(self, order: Order) -> Order:
        """Cancel a resting order. Raises `Refusal` when it does not rest (any more)."""
        if not order.rests:
            raise not_found()
        self._end(order, "Cancelled", None)
        return order

    def open_orders(self, account: Account, symbol: str | None = None) -> list[Order]:
        """Return the account's resting orders, oldest first."""
        symbols: Iterable[str] = self._resting if symbol is None else [symbol]
        return [order for name in symbols for order in self._resting[name] if order.account is account]

    def open_orders_at(self, account: Account, symbol: str | None, at_ms: int) -> list[Order]:
        """Return the orders that rested at `at_ms`, for lists that lag."""
        return [
            order
            for order in self.orders
            if order.account is account
            and symbol in {None, order.wanted.market.symbol}
            and order.created_at_ms <= at_ms
            and (order.ended_at_ms is None or order.ended_at_ms > at_ms)
        ]

    def resting(self, symbol: str) -> list[Order]:
        """Return every account's resting orders of a market."""
        return self._resting[symbol]

    def find(self, account: Account, symbol: str, *, order_id: int | None, client_id: int | None) -> Order:
        """Return a resting order by one of its ids. Raises `Refusal` (not found)."""
        for order in self.open_orders(account, symbol):
            if order_id is not None and order.order_id == order_id:
                return order
            if order_id is None and client_id is not None and order.wanted.client_id == client_id:
                return order
        raise not_found()

    def outside_quote(
        self, symbol: str, bid: Decimal, bid_quantity: Decimal, ask: Decimal, ask_quantity: Decimal
    ) -> None:
        """Move the outside touch; what it runs over is filled at its own price."""
        self.books[symbol].quote(bid, bid_quantity, ask, ask_quantity, self._now_ms())
        for order in list(self._resting[symbol]):
            through = order.price >= ask if order.wanted.buys else order.price <= bid
            if through:
                self._fill(order, order.price, order.remaining, maker=True)
                self._finish_if_filled(order)

    def outside_trade(self, symbol: str, price: Decimal, quantity: Decimal, *, aggressor_sells: bool) -> None:
        """Let others trade: fills what is traded through, and what is at the front at the trade's price."""
        book = self.books[symbol]
        book.trades.append(
            Trade(
                trade_id=self._next_trade,
                price=price,
                quantity=quantity,
                buyer_is_maker=aggressor_sells,
                at_ms=self._now_ms(),
            )
        )
        self._next_trade += 1
        left = quantity
        for order in list(self._resting[symbol]):
            if order.wanted.buys != aggressor_sells:
                continue
            if order.price > price if order.wanted.buys else order.price < price:
                self._fill(order, order.price, order.remaining, maker=True)
            elif order.price == price and left > 0:
                traded_ahead = min(order.ahead, left)
                order.ahead -= traded_ahead
                reached = min(order.remaining, left - traded_ahead)
                if reached <= 0:
                    continue
                left -= reached
                self._fill(order, order.price, reached, maker=True)
            self._finish_if_filled(order)


def _total(matchable: list[tuple[Decimal, Decimal, Order | None]]) -> Decimal:
    return sum((quantity for _, quantity, _ in matchable), Decimal(0))

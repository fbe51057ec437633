"""The matching engine: pure, with the clock passed in. One command stream, price-time priority."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from decimal import Decimal

from simulator.accounts import Account, Position
from simulator.book import OutsideBook, Trade
from simulator.checks import check_filters, check_funds, reduced_quantity
from simulator.errors import Refusal, not_found
from simulator.journal import Journal
from simulator.markets import MARKETS
from simulator.matching import fillable, offers, wanted_quantity
from simulator.orders import Fill, Order, Wanted, text
from simulator.settlement import release, reserve, settle

#: How far in the future a request may be stamped.
LONGEST_LEAD_MS = 600_000
#: Orders and fills that histories go back to; a long run must not fill the memory.
HISTORY_KEPT = 50_000


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
        #: The latest accepted orders, oldest first.
        self.orders: deque[Order] = deque(maxlen=HISTORY_KEPT)
        self._resting: dict[str, list[Order]] = {symbol: [] for symbol in MARKETS}
        self.fills: deque[Fill] = deque(maxlen=HISTORY_KEPT)

    def place(self, account: Account, wanted: Wanted, *, signed_at_ms: int, window_ms: int | None) -> Order:
        """Accept an order, match it, and rest what is left. Raises `Refusal`; then nothing happened.

        The window is judged here, at the moment of acceptance, whatever delayed the request before; None: it
        was judged already.
        """
        try:
            if window_ms is not None:
                self.check_time(signed_at_ms, window_ms, self._now_ms())
            return self._accept(account, wanted, signed_at_ms)
        except Refusal as refusal:
            self._journal.write(
                "order_refused",
                account=account.name,
                symbol=wanted.market.symbol,
                client_id=wanted.client_id,
                side=wanted.side,
                price=None if wanted.price is None else text(wanted.price),
                quantity=None if wanted.quantity is None else text(wanted.quantity),
                post_only=wanted.post_only,
                code=refusal.code,
                message=refusal.message,
                signed_at_ms=signed_at_ms,
            )
            raise

    @staticmethod
    def check_time(signed_at_ms: int, window_ms: int, at_ms: int) -> None:
        """Raise `Refusal` when a request is, at `at_ms`, too old for its window, or from the future."""
        if at_ms > signed_at_ms + window_ms:
            raise Refusal("INVALID_CLIENT_REQUEST", "Request has expired")
        if signed_at_ms > at_ms + LONGEST_LEAD_MS:
            raise Refusal(
                "INVALID_CLIENT_REQUEST", "Invalid timestamp: must be within 10 minutes of current time"
            )

    def _accept(self, account: Account, wanted: Wanted, signed_at_ms: int) -> Order:
        book = self.books[wanted.market.symbol]
        check_filters(wanted, book)
        self._check_client_id(account, wanted)
        found = offers(wanted, book, self._resting[wanted.market.symbol])
        crosses = bool(found)
        if wanted.order_type == "Market" and not crosses:
            raise Refusal("INVALID_ORDER", "No liquidity for market order")
        quantity = wanted_quantity(wanted, found)
        if wanted.reduce_only:
            quantity = reduced_quantity(account, wanted, quantity)
        if wanted.post_only and crosses and not self._post_only_expires:
            raise Refusal("INVALID_ORDER", "Order would immediately match and take")
        if wanted.time_in_force == "FOK" and fillable(wanted, account, found) < quantity:
            raise Refusal("INVALID_ORDER", "Fill or kill order would not complete fill immediately")
        worst = found[-1].price if found else None
        check_funds(account, wanted, quantity, worst, self.open_orders(account, wanted.market.symbol))
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

    def _take(self, order: Order) -> None:
        symbol = order.wanted.market.symbol
        for offer in offers(order.wanted, self.books[symbol], self._resting[symbol]):
            if order.remaining <= 0 or not order.rests:
                return
            maker = offer.order
            if maker is not None and not maker.rests:
                continue
            if maker is not None and maker.account is order.account:
                self._prevent_self_trade(order, maker)
                continue
            quantity = min(order.remaining, offer.quantity if maker is None else maker.remaining)
            if quantity <= 0:
                continue
            trade_id = self._public_trade(symbol, offer.price, quantity, buyer_is_maker=not order.wanted.buys)
            self._fill(order, offer.price, quantity, trade_id, maker=False)
            if maker is not None:
                self._fill(maker, offer.price, quantity, trade_id, maker=True)
                self._finish_if_filled(maker)
                self._trim_reducing(maker.account, symbol)

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
        if order.executed:
            self._trim_reducing(order.account, order.wanted.market.symbol)

    def _fill(self, order: Order, price: Decimal, quantity: Decimal, trade_id: int, *, maker: bool) -> None:
        order.executed += quantity
        order.executed_quote += price * quantity
        order.status = "Filled" if order.remaining <= 0 else "PartiallyFilled"
        fee, fee_asset = settle(order, price, quantity, maker=maker)
        self.fills.append(
            Fill(
                trade_id=trade_id,
                order=order,
                price=price,
                quantity=quantity,
                fee=fee,
                fee_asset=fee_asset,
                maker=maker,
                at_ms=self._now_ms(),
            )
        )
        self._journal.write(
            "fill",
            **order.witness() | {"price": text(price), "quantity": text(quantity)},
            order_quantity=text(order.quantity),
            trade_id=trade_id,
            fee=text(fee),
            fee_asset=fee_asset,
            maker=maker,
        )

    def _fill_resting(self, order: Order, quantity: Decimal) -> None:
        """Let the outside market take from a resting order, at its own price."""
        trade_id = self._next_trade
        self._next_trade += 1
        self._fill(order, order.price, quantity, trade_id, maker=True)
        self._finish_if_filled(order)
        self._trim_reducing(order.account, order.wanted.market.symbol)

    def _public_trade(self, symbol: str, price: Decimal, quantity: Decimal, *, buyer_is_maker: bool) -> int:
        trade_id = self._next_trade
        self._next_trade += 1
        self.books[symbol].trades.append(
            Trade(
                trade_id=trade_id,
                price=price,
                quantity=quantity,
                buyer_is_maker=buyer_is_maker,
                at_ms=self._now_ms(),
            )
        )
        return trade_id

    def _trim_reducing(self, account: Account, symbol: str) -> None:
        """Shrink resting reduce-only orders to the position, so that none can turn it around."""
        net = account.positions.get(symbol, Position()).net
        for order in self.open_orders(account, symbol):
            if not order.wanted.reduce_only:
                continue
            if net == 0 or (net > 0) == order.wanted.buys:
                self._end(order, "Expired", "ReduceOnlyNotReduced")
            elif order.remaining > abs(net):
                order.quantity = order.executed + abs(net)

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

    def open_orders_at(self, account: Account, at_ms: int) -> list[Order]:
        """Return the account's orders that rested at `at_ms`, for lists that lag."""
        return [
            order
            for order in self.orders
            if order.account is account
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
        self.books[symbol].quote(bid, bid_quantity, ask, ask_quantity)
        for order in list(self._resting[symbol]):
            through = order.price >= ask if order.wanted.buys else order.price <= bid
            if through and order.rests:
                self._fill_resting(order, order.remaining)

    def outside_trade(self, symbol: str, price: Decimal, quantity: Decimal, *, aggressor_sells: bool) -> None:
        """Let others trade: fills what is traded through, and what is at the front at the trade's price."""
        self._public_trade(symbol, price, quantity, buyer_is_maker=aggressor_sells)
        left = quantity
        for order in list(self._resting[symbol]):
            if order.wanted.buys != aggressor_sells or not order.rests:
                continue
            if order.price > price if order.wanted.buys else order.price < price:
                self._fill_resting(order, order.remaining)
            elif order.price == price and left > 0:
                traded_ahead = min(order.ahead, left)
                order.ahead -= traded_ahead
                reached = min(order.remaining, left - traded_ahead)
                if reached > 0:
                    left -= reached
                    self._fill_resting(order, reached)

"""The matching engine: pure, with the clock passed in. One command stream, price-time priority."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

from simulator.accounts import Account
from simulator.book import OutsideBook, Trade
from simulator.checks import check_balance, check_filters, check_time, reduced_quantity
from simulator.errors import Refusal, not_found
from simulator.history import History
from simulator.journal import Journal
from simulator.margin import check_margin
from simulator.markets import MARKETS
from simulator.matching import Offer, cost, fillable, offers, wanted_quantity
from simulator.observer import Observer
from simulator.orders import Fill, Order, Wanted
from simulator.resting import RestingOrders
from simulator.settlement import release, reserve, settle


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
        self.resting = RestingOrders()
        #: Every accepted order, and every fill.
        self.orders: History[Order] = History(lambda order: order.created_at_ms)
        self.fills: History[Fill] = History(lambda fill: fill.at_ms)
        self._observer = Observer()

    def announce_to(self, observer: Observer) -> None:
        """Let one observer hear of everything from now on, the books and the accounts included."""
        self._observer = observer
        for book in self.books.values():
            book.on_change = observer.book_touched
        for account in self.accounts.values():
            account.on_change = observer.balance_changed

    def mark(self, symbol: str) -> Decimal:
        """Return the mark price: the middle of the outside touch."""
        return self.books[symbol].mid

    def place(self, account: Account, wanted: Wanted, *, signed_at_ms: int, window_ms: int | None) -> Order:
        """Accept an order, match it, and rest what is left. Raises `Refusal`; then nothing happened.

        The window is judged here, at the moment of acceptance, whatever delayed the request before; None: it
        was judged already.
        """
        try:
            if window_ms is not None:
                check_time(signed_at_ms, window_ms, self._now_ms())
            return self._accept(account, wanted, signed_at_ms)
        except Refusal as refusal:
            self._journal.write(
                "order_refused",
                account=account.name,
                **wanted.witness(),
                code=refusal.code,
                message=refusal.message,
                signed_at_ms=signed_at_ms,
            )
            raise

    def _accept(self, account: Account, wanted: Wanted, signed_at_ms: int) -> Order:
        check_filters(wanted, self.books[wanted.market.symbol])
        self._check_client_id(account, wanted)
        found = self._offers(wanted)
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
        if wanted.market.perp:
            check_margin(account, wanted, quantity, self.resting.of_account(account), self.mark)
        else:
            check_balance(account, wanted, quantity, cost(quantity, found))
        order = self._new(account, wanted, quantity, signed_at_ms)
        self._journal.write("order_accepted", **order.witness())
        self._observer.order_changed("orderAccepted", order)
        if wanted.post_only and crosses:
            self._end(order, "Expired", "PostOnlyTaker")
            return order
        reserve(order)
        self._take(order, found)
        self._rest_or_end(order)
        return order

    def _check_client_id(self, account: Account, wanted: Wanted) -> None:
        # Undocumented on the real exchange: refusing duplicates among open orders is our assumption.
        if wanted.client_id is not None and self.resting.by_client_id(account, wanted.client_id):
            raise Refusal("INVALID_CLIENT_REQUEST", "Client order id is already in use")

    def _offers(self, wanted: Wanted) -> list[Offer]:
        symbol = wanted.market.symbol
        return offers(wanted, self.books[symbol], self.resting.side(symbol, bids=not wanted.buys))

    def _new(self, account: Account, wanted: Wanted, quantity: Decimal, signed_at_ms: int) -> Order:
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
            order.ahead = self.books[order.symbol].displayed_at(wanted.price, bids=wanted.buys)
        self.orders.add(account.name, order.symbol, order)
        return order

    def _take(self, order: Order, found: Sequence[Offer]) -> None:
        for offer in found:
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
            trade_id = self._public_trade(
                order.symbol,
                offer.price,
                quantity,
                buyer_is_maker=not order.wanted.buys,
                maker=maker,
                taker=order,
            )
            self._fill(order, offer.price, quantity, trade_id, maker=False)
            if maker is not None:
                self._fill(maker, offer.price, quantity, trade_id, maker=True)
                self._after_fill(maker)

    def _prevent_self_trade(self, taker: Order, maker: Order) -> None:
        rule = taker.wanted.self_trade_prevention
        if rule in {"RejectMaker", "RejectBoth"}:
            self._end(maker, "Expired", "SelfTradePrevention")
        if rule in {"RejectTaker", "RejectBoth"}:
            self._end(taker, "Expired", "SelfTradePrevention")

    def _rest_or_end(self, order: Order) -> None:
        if order.rests:
            if order.remaining <= 0:
                self._end(order, "Filled", None)
            elif order.wanted.order_type == "Market":
                self._end(order, "Expired", "InsufficientLiquidity")
            elif order.wanted.time_in_force != "GTC":
                self._end(order, "Expired", "ImmediateOrCancel")
            else:
                order.status = order.resting_status
                self.resting.add(order)
                self.books[order.symbol].touched()
        if order.executed:
            self._trim_reducing(order.account, order.symbol)

    def _fill(self, order: Order, price: Decimal, quantity: Decimal, trade_id: int, *, maker: bool) -> None:
        order.executed += quantity
        order.executed_quote += price * quantity
        order.status = "Filled" if order.remaining <= 0 else "PartiallyFilled"
        at_ms, before = self._now_ms(), order.account.net(order.symbol)
        fee, fee_asset = settle(order, price, quantity, maker=maker, at_ms=at_ms)
        fill = Fill(
            trade_id=trade_id,
            order=order,
            price=price,
            quantity=quantity,
            fee=fee,
            fee_asset=fee_asset,
            maker=maker,
            at_ms=at_ms,
        )
        self.fills.add(order.account.name, order.symbol, fill)
        self.books[order.symbol].touched()
        self._journal.write("fill", **fill.witness())
        self._observer.filled(fill)
        if order.wanted.market.perp:
            self._observer.position_changed(order.account, order.symbol, before)

    def _public_trade(
        self,
        symbol: str,
        price: Decimal,
        quantity: Decimal,
        *,
        buyer_is_maker: bool,
        maker: Order | None = None,
        taker: Order | None = None,
    ) -> int:
        trade_id = self._next_trade
        self._next_trade += 1
        trade = Trade(
            trade_id=trade_id,
            price=price,
            quantity=quantity,
            buyer_is_maker=buyer_is_maker,
            at_ms=self._now_ms(),
            maker_order_id=None if maker is None else maker.order_id,
            taker_order_id=None if taker is None else taker.order_id,
        )
        self.books[symbol].trades.append(trade)
        self._observer.traded(symbol, trade)
        return trade_id

    def _fill_resting(self, order: Order, quantity: Decimal) -> None:
        """Let the outside market take from a resting order, at its own price."""
        trade_id = self._public_trade(
            order.symbol, order.price, quantity, buyer_is_maker=order.wanted.buys, maker=order
        )
        self._fill(order, order.price, quantity, trade_id, maker=True)
        self._after_fill(order)

    def _after_fill(self, resting: Order) -> None:
        if resting.rests and resting.remaining <= 0:
            self._end(resting, "Filled", None)
        self._trim_reducing(resting.account, resting.symbol)

    def _trim_reducing(self, account: Account, symbol: str) -> None:
        """Shrink resting reduce-only orders to the position, so that none can turn it around."""
        if not MARKETS[symbol].perp:
            return
        net = account.net(symbol)
        for order in self.resting.of_account(account, symbol):
            if not order.wanted.reduce_only:
                continue
            if net == 0 or (net > 0) == order.wanted.buys:
                self._end(order, "Expired", "ReduceOnlyNotReduced")
            elif order.remaining > abs(net):
                order.quantity = order.executed + abs(net)
                self._journal.write("order_modified", **order.witness())
                self._observer.order_changed("orderModified", order)

    def _end(self, order: Order, status: str, reason: str | None) -> None:
        order.status = status
        order.expiry_reason = reason
        order.ended_at_ms = self._now_ms()
        release(order)
        if self.resting.remove(order):
            self.books[order.symbol].touched()
        if status in {"Cancelled", "Expired"}:
            self._journal.write(f"order_{status.lower()}", **order.witness(), reason=reason)
            self._observer.order_changed(f"order{status}", order)

    def cancel(self, order: Order) -> Order:
        """Cancel a resting order. Raises `Refusal` when it does not rest (any more)."""
        if not order.rests:
            raise not_found()
        self._end(order, "Cancelled", None)
        return order

    def find(self, account: Account, symbol: str, *, order_id: int | None, client_id: int | None) -> Order:
        """Return a resting order by one of its ids. Raises `Refusal` (not found)."""
        order = None
        if order_id is not None:
            order = self.resting.by_order_id(account, order_id)
        elif client_id is not None:
            order = self.resting.by_client_id(account, client_id)
        if order is None or order.symbol != symbol:
            raise not_found()
        return order

    def outside_quote(
        self, symbol: str, bid: Decimal, bid_quantity: Decimal, ask: Decimal, ask_quantity: Decimal
    ) -> None:
        """Move the outside touch; what it reaches or runs over is filled whole, at its own price."""
        self.books[symbol].quote(bid, bid_quantity, ask, ask_quantity)
        for bids in (True, False):
            for order in self.resting.side(symbol, bids=bids):
                if order.price < ask if bids else order.price > bid:
                    break
                if order.rests:
                    self._fill_resting(order, order.remaining)

    def outside_trade(self, symbol: str, price: Decimal, quantity: Decimal, *, aggressor_sells: bool) -> None:
        """Let others trade: fills what is traded through, and what is at the front at the trade's price.

        What part of the trade fills an order at its price is that order's trade; the rest is one of its own.
        """
        left, ours = quantity, Decimal(0)
        for order in self.resting.side(symbol, bids=aggressor_sells):
            if order.price < price if aggressor_sells else order.price > price:
                break
            if not order.rests:
                continue
            if order.price != price:
                self._fill_resting(order, order.remaining)
                continue
            traded_ahead = min(order.ahead, left)
            order.ahead -= traded_ahead
            # The recorded quantity may be finer than the market's steps.
            reached = min(order.remaining, order.wanted.market.in_steps(left - traded_ahead))
            if reached > 0:
                left -= reached
                ours += reached
                self._fill_resting(order, reached)
        if quantity > ours:
            self._public_trade(symbol, price, quantity - ours, buyer_is_maker=aggressor_sells)

"""A perpetual market that fills one instance's orders, as far as a test of decisions needs it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal as D

from market.book import OrderBook
from market.instrument import Instrument
from market.net_range import Carried
from market.orders import OpenOrder, OrderStatus, Role, Side
from market.position import Fill
from market.profit import Profit
from market.snapshot import LevelTotals, OwnOrder, Snapshot
from strategies.base import Decision
from strategies.perp_maker_params import Params
from strategies.perp_market_maker import State
from strategies.reconcile import reconcile
from tests.unit.strategies.maker_values import fill, perp_snapshot
from tests.unit.strategies.market_values import NOW_MS, book, own_order


@dataclass
class Exchange:
    """A market of one instance's orders, whose position endpoint may lag one iteration behind."""

    instrument: Instrument
    net: D
    now_ms: int = NOW_MS
    mid_ticks: int = 15_000
    orders: list[OwnOrder] = field(default_factory=list)
    profit: Profit = field(default_factory=Profit)
    news: list[Fill] = field(default_factory=list)
    count: int = 0
    shown: D = D(0)
    totals: LevelTotals = field(default_factory=LevelTotals)
    is_exclusive: bool = True
    #: As saved with the state, and as the last snapshot showed it.
    carried: Carried | None = None
    seen: Carried | None = None

    def snapshot(self, *, lags: bool) -> Snapshot:
        if not lags:
            self.shown = self.net
        self.seen = self._carried()
        return replace(
            perp_snapshot(
                self.shown, of=self.instrument, order_book=self.book(), is_exclusive=self.is_exclusive
            ),
            net_bounds=self.seen.net_range(self.shown, self.profit.net),
            open_orders=tuple(self.orders),
            fills=tuple(self.news),
            profit=self.profit,
            totals={(0, 0): self.totals},
            taken_at_ms=self.now_ms,
        )

    def saved(self, of: Snapshot) -> None:
        """Note that the iteration which saw `of` has saved what it knew."""
        self.carried = self.seen
        self.news = self.news[len(of.fills) :]

    def _carried(self) -> Carried:
        held, own = self.shown, self.profit.net
        if self.carried is None:
            bought, sold = self.totals.bought, self.totals.sold
            return Carried.first(held, own, bought=bought, sold=sold, now_ms=self.now_ms)
        return self.carried.after(held, own, now_ms=self.now_ms, is_settled=True)

    def book(self) -> OrderBook:
        """Return the book of the others."""
        tick = self.instrument.tick_size
        return book((self.mid_ticks - 3) * tick, (self.mid_ticks + 3) * tick)

    def carry_out(self, decision: Decision[State], params: Params, share: D) -> None:
        plan = reconcile(
            decision.quotes,
            self.orders,
            tolerance_bps=params.refresh_tolerance_bps,
            instrument=self.instrument,
        )
        self.orders = list(plan.kept)
        if decision.taker is not None:
            taker = decision.taker
            # Reduce-only: the exchange itself lets it do no more.
            held = self.net if taker.side is Side.SELL else -self.net
            quantity = min(self.instrument.round_quantity(taker.quantity * share), max(held, D(0)))
            self._fill("taker", taker.side, quantity, taker.limit_price, is_maker=False)
        for quote in plan.places:
            self.count += 1
            order = own_order(quote.side, quote.price, quote.quantity, level=quote.level)
            self.orders.append(
                replace(order, order=replace(order.order, order_id=str(self.count)), role=Role.QUOTE)
            )

    def move(self, ticks: int, share: D) -> None:
        """Let the market move, and fill `share` of what it meets."""
        self.mid_ticks += ticks
        price = self.mid_ticks * self.instrument.tick_size
        for own in list(self.orders):
            order = own.order
            assert order.price is not None
            met = price <= order.price if order.side is Side.BUY else price >= order.price
            if not met:
                continue
            quantity = self.instrument.round_quantity(order.remaining_quantity * share)
            self._fill(order.order_id, order.side, quantity, order.price)
            self.orders.remove(own)
            rest = replace(
                order,
                executed_quantity=order.executed_quantity + quantity,
                status=OrderStatus.PARTIALLY_FILLED,
            )
            if rest.remaining_quantity > 0:
                self.orders.append(replace(own, order=rest))
        # What was met and is not filled holds the price back.
        self.mid_ticks = self._held_back()

    def _held_back(self) -> int:
        tick = self.instrument.tick_size
        mid = self.mid_ticks
        for own in self.orders:
            order: OpenOrder = own.order
            assert order.price is not None
            ticks = int(order.price / tick)
            mid = max(mid, ticks + 4) if order.side is Side.BUY else min(mid, ticks - 4)
        return mid

    def _fill(self, order_id: str, side: Side, quantity: D, price: D, *, is_maker: bool = True) -> None:
        if quantity <= 0:
            return
        its = fill(order_id, side, quantity, price, is_maker=is_maker)
        self.news.append(its)
        self.net += quantity if side is Side.BUY else -quantity
        self.profit = self.profit.after(its, self.instrument)
        self.totals = self.totals.after(its, self.instrument)

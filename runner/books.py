"""What a run knows of its orders and fills: every order followed to its end, every fill counted once.

An order is *known* from the moment the exchange accepted it until its end is known together with all of its
fills. Only fills of known orders are counted, each by its trade id, so that neither a repeated nor a late
history page changes a sum. Lists, answers and histories say how much was executed; the fills must come to
that, and until they do the order is *unsettled*.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from market.instrument import Instrument
from market.net_range import Carried, NetRange
from market.orders import OpenOrder, Role, Side
from market.position import Fill, Position
from market.profit import Profit
from market.snapshot import LevelRole, LevelTotals, OwnOrder
from runner.known_orders import (
    CLOCK_SLACK_MS,
    OVERLAP_MS,
    KnownOrder,
    as_open,
    is_meant,
    missing_fill,
    own_order,
)
from state.client_ids import level_role

#: For this long after its end an order may still be on a list.
LONGEST_LIST_LAG_MS = 15_000
#: An order that neither rests nor has a history for this long is given up: it ended with the fills known.
LONGEST_MISSING_MS = 60_000
#: For this long behind its fence an order that nobody shows may still turn up in a history that lags.
LONGEST_HISTORY_LAG_MS = 10_000
#: Fills kept for a strategy whose state is not saved; beyond, it goes by the totals alone.
MOST_UNSEEN = 1000
#: Orders that were placed within this time are counted by the limit of orders per minute.
RATE_WINDOW_MS = 60_000
#: System fills remembered, newest last.
SYSTEM_FILLS_KEPT = 100


class Books(BaseModel):
    """The books of one run, kept as JSON from iteration to iteration."""

    model_config = ConfigDict(extra="forbid")

    #: Layout; an unknown one is an error, never a reset.
    version: int = 1
    #: When the run began by the exchange's clock, ms; 0: not known yet.
    began_at_ms: int = 0
    #: Exchange time of the newest fill read, ms.
    read_until_ms: int = 0
    #: By order id.
    orders: dict[str, KnownOrder] = Field(default_factory=dict)
    #: Orders that are over, to when that was known (ms): a list that lags may still show them.
    over: dict[str, int] = Field(default_factory=dict)
    #: By ``level:role``.
    totals: dict[str, LevelTotals] = Field(default_factory=dict)
    profit: Profit = Profit()
    #: Fills counted that no saved state of the strategy has seen.
    unseen: tuple[Fill, ...] = ()
    unseen_system: tuple[Fill, ...] = ()
    #: Trade ids of system fills told before.
    system_trades: tuple[str, ...] = ()
    #: When orders were placed, ms of the state server's clock, for the last minute.
    placed_at_ms: tuple[int, ...] = ()
    #: Perpetuals: what of the exchange's position this run did not make.
    carried: Carried | None = None
    #: Client order ids given earlier that the exchange did not show when asked for behind the fence.
    doubtful: tuple[int, ...] = ()
    #: Since when orders of another run rest in this instance's slot, ms; 0: none does.
    strangers_since_ms: int = 0
    #: What the limits cut last time, so that only a change makes an event.
    cuts: tuple[str, ...] = ()
    #: When an order book was read last, ms of the state server's clock; 0: never.
    book_at_ms: int = 0
    #: When own orders were placed or cancelled last, same clock: books of before still show the old ones.
    own_changed_at_ms: int = 0

    #: The orders when these books were read, and what was learned since: for the ledger.
    _before: dict[str, KnownOrder] = PrivateAttr(default_factory=dict)
    _closed: dict[str, KnownOrder] = PrivateAttr(default_factory=dict)
    _counted: list[Fill] = PrivateAttr(default_factory=list)

    def model_post_init(self, _: Any) -> None:
        """Remember where these books begin."""
        self._before = dict(self.orders)

    def changed_orders(self) -> tuple[KnownOrder, ...]:
        """Return the orders that are not what they were when these books were read."""
        return tuple(
            order
            for order_id, order in (self._closed | self.orders).items()
            if order_id not in self._before or order.told != self._before[order_id].told
        )

    def counted_fills(self) -> tuple[Fill, ...]:
        """Return the fills counted since these books were read."""
        return tuple(self._counted)

    def begin(self, exchange_ms: int) -> None:
        """Note when the run began by the exchange's clock, unless that is known."""
        if not self.began_at_ms:
            self.began_at_ms = self.read_until_ms = exchange_ms

    @property
    def fills_since_ms(self) -> int:
        """Return from when on fills have to be read to miss none, exchange time, ms."""
        unsettled = (order.read_from_ms for order in self.orders.values() if not order.is_settled)
        return min(self.read_until_ms - OVERLAP_MS, *unsettled, self.read_until_ms) - CLOCK_SLACK_MS

    def add(self, order: OpenOrder) -> None:
        """Follow an order that the exchange has accepted, as it stands."""
        if order.order_id in self.over or order.client_order_id is None:
            return
        known = self.orders.get(order.order_id) or KnownOrder.accepted(order, order.client_order_id)
        self.orders[order.order_id] = known.shown(order)

    def miss(self, order_id: str, now_ms: int) -> bool:
        """Note that nothing shows an order; tell whether that was so for too long to go on waiting."""
        known = self.orders[order_id]
        if not known.missing_since_ms:
            self.orders[order_id] = known.model_copy(update={"missing_since_ms": now_ms})
            return False
        return now_ms - known.missing_since_ms >= LONGEST_MISSING_MS

    def adopt(self, order: OpenOrder, now_ms: int) -> None:
        """Follow an order of an iteration that could not say what it placed."""
        self.add(order)
        self.placed_at_ms += (now_ms,)

    def end(self, order_id: str, executed: Decimal) -> None:
        """Note that an order rests no more, with what was executed of it in all."""
        known = self.orders.get(order_id)
        if known is not None:
            self.orders[order_id] = known.over_with(executed)

    def observe_list(
        self, listed: Sequence[OpenOrder], intents: Mapping[int, int], *, now_ms: int = 0
    ) -> tuple[OpenOrder, ...]:
        """Learn from a list of own open orders; return those that are none of this run's.

        An order of this run is known, or it is one of the `intents` (client order id to the exchange time it
        was signed with, ms).
        """
        strangers = []
        for order in listed:
            known = self.orders.get(order.order_id)
            if order.order_id in self.over or (known is not None and known.ended):
                continue  # the list lags
            if known is not None:
                self.add(order)
            elif is_meant(order, intents):
                self.adopt(order, now_ms)
            else:
                strangers.append(order)
        return tuple(strangers)

    def count(self, fills: Iterable[Fill], instrument: Instrument) -> None:
        """Count fills of known orders that were not counted yet, and keep system fills to be told."""
        for fill in fills:
            self.read_until_ms = max(self.read_until_ms, fill.filled_at_ms)
            known = self.orders.get(fill.order_id)
            if fill.is_system:
                self._keep_system_fill(fill)
            elif known is not None and fill.quantity and not known.has_counted(fill):
                self._count_one(fill, known, instrument)

    def count_streamed(self, fills: Iterable[Fill], instrument: Instrument) -> None:
        """Count fills that came by a stream: ahead of the history, which may not show older ones yet."""
        read_until_ms = self.read_until_ms
        self.count(fills, instrument)
        self.read_until_ms = read_until_ms

    def _count_one(self, fill: Fill, known: KnownOrder, instrument: Instrument) -> None:
        name = "{}:{}".format(*known.level_role)
        # All or nothing, also when an interrupted task stops in here: the trade's id comes last.
        totals = self.totals.get(name, LevelTotals()).after(fill, instrument)
        profit = self.profit.after(fill, instrument)
        unseen = (*self.unseen[1 - MOST_UNSEEN :], fill)
        self.totals[name], self.profit, self.unseen = totals, profit, unseen
        self.orders[known.order_id] = known.filled_by(fill)
        self._counted.append(fill)

    def _keep_system_fill(self, fill: Fill) -> None:
        if fill.filled_at_ms >= self.began_at_ms and fill.trade_id not in self.system_trades:
            self.unseen_system = (*self.unseen_system, fill)
            self.system_trades = (*self.system_trades[-SYSTEM_FILLS_KEPT:], fill.trade_id)
            self._counted.append(fill)

    def vanished(self, listed: Sequence[OpenOrder]) -> tuple[KnownOrder, ...]:
        """Return the orders that should rest, are not on the list, and are not explained by their fills."""
        on_list = {order.order_id for order in listed}
        return tuple(
            order
            for order in self.orders.values()
            if not order.ended and not order.is_over and order.order_id not in on_list
        )

    def close_what_is_over(self, now_ms: int) -> None:
        """Forget orders whose end and fills are known, and remember their ids while a list may show them."""
        for order in list(self.orders.values()):
            if order.is_over:
                self._closed[order.order_id] = self.orders.pop(order.order_id)
                self.over[order.order_id] = now_ms
            else:
                self.orders[order.order_id] = order.read_until(self.read_until_ms, now_ms)
        self.over = {
            order_id: at_ms for order_id, at_ms in self.over.items() if now_ms - at_ms < LONGEST_LIST_LAG_MS
        }
        self.placed_at_ms = tuple(at_ms for at_ms in self.placed_at_ms if now_ms - at_ms < RATE_WINDOW_MS)

    def write_off(self, instrument: Instrument, now_ms: int, *, exchange_ms: int) -> tuple[KnownOrder, ...]:
        """Count, at their price, fills that should have been shown long ago; return the orders they are of.

        `exchange_ms` is now by the exchange's clock.

        Otherwise one row that never comes would block its level, and a stop that unwinds, for ever.
        """
        given_up = [
            order
            for order in self.orders.values()
            if not order.is_settled
            and order.unsettled_since_ms
            and now_ms - order.unsettled_since_ms >= LONGEST_MISSING_MS
        ]
        for order in given_up:
            marked = order.model_copy(update={"written_off_until_ms": exchange_ms})
            self._count_one(missing_fill(order, instrument), marked, instrument)
            # It stands for what may yet be shown: the ledger waits for that.
            self._counted.pop()
        return tuple(given_up)

    def strangers_stay(self, *, are_there: bool, now_ms: int) -> bool:
        """Note whether orders of another run rest; tell whether they have been there for too long."""
        self.strangers_since_ms = (self.strangers_since_ms or now_ms) if are_there else 0
        return are_there and now_ms - self.strangers_since_ms >= LONGEST_MISSING_MS

    def executed_and_not_counted(self, side: Side) -> Decimal:
        """Return what was executed on a side by the exchange's word and no fill has shown yet."""
        orders = (order for order in self.orders.values() if order.side is side)
        return sum((max(order.executed - order.filled, Decimal(0)) for order in orders), Decimal(0))

    def open_orders(self, symbol: str) -> tuple[OwnOrder, ...]:
        """Return the orders that rest, or have to be taken for resting."""
        return tuple(
            own_order(as_open(order, symbol))
            for order in self.orders.values()
            if not order.ended and not order.is_over
        )

    def unsettled(self, intents: Iterable[int], vanished: Iterable[KnownOrder]) -> frozenset[LevelRole]:
        """Return the levels and roles whose totals may be too little."""
        found = {order.level_role for order in self.orders.values() if not order.is_settled}
        found |= {order.level_role for order in vanished}
        return frozenset(found | {level_role(client_order_id) for client_order_id in intents})

    def totals_by_level(self) -> dict[LevelRole, LevelTotals]:
        """Return the totals with their names taken apart."""
        found = {}
        for name, totals in self.totals.items():
            level, role = (int(part) for part in name.split(":"))
            found[level, role] = totals
        return found

    def net_range(self, position: Position | None, unsettled: frozenset[LevelRole], now_ms: int) -> NetRange:
        """Return between which net quantities the run is; on a perpetual note what others made of it, too."""
        bounds = NetRange.exactly(self.profit.net)
        if position is not None:
            bounds = self._position_range(position, unsettled, now_ms)
        return NetRange(
            low=bounds.low - self.executed_and_not_counted(Side.SELL),
            high=bounds.high + self.executed_and_not_counted(Side.BUY),
        )

    def _position_range(self, position: Position, unsettled: frozenset[LevelRole], now_ms: int) -> NetRange:
        held, own = position.net_quantity, self.profit.net
        if self.carried is None:
            bought = sum((totals.bought for totals in self.totals.values()), Decimal(0))
            sold = sum((totals.sold for totals in self.totals.values()), Decimal(0))
            self.carried = Carried.first(held, own, bought=bought, sold=sold, now_ms=now_ms)
        else:
            self.carried = self.carried.after(held, own, now_ms=now_ms, is_settled=not unsettled)
        found = self.carried.net_range(held, own)
        takers = {(0, int(Role.HEDGE)), (0, int(Role.CLEANUP))}
        return found.with_zero() if takers & unsettled else found

    def forget_unseen(self) -> None:
        """Note that the strategy's saved state has seen every fill so far."""
        self.unseen = self.unseen_system = ()

"""Tell what happened to an account: each fill once, to the ledger's queue and to its instance."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import islice

import structlog

from exchanges.stream import OrderEvent, OrderUpdate
from feed.watched import WatchedAccount
from ledger.bookings import FillBooking, FundingBooking, OrderBooking, SnapshotBooking
from market.instrument import Instrument
from market.orders import OpenOrder
from market.position import Fill, FundingPayment
from metrics import families
from state.client_ids import decode, level_role
from state.own_fills import News, OwnFills

log = structlog.get_logger(__name__)

#: Fills remembered as told; beyond, one that is shown again is told again, and booked once all the same.
TOLD_KEPT = 50_000

#: Fills of one step.
AT_ONCE = 500
#: Client order ids are unsigned 32-bit integers (Backpack's `clientId`); a larger one is none of ours.
LARGEST_CLIENT_ID = 2**32 - 1

FillKey = tuple[str, str, str]


class Teller:
    """The news of one account. Its stream's thread and its reconciler's use it at the same time."""

    def __init__(self, account: str, own_fills: OwnFills, slot_owner: Callable[[int], str]) -> None:
        self._account = account
        self._own_fills = own_fills
        self._slot_owner = slot_owner
        self._lock = threading.Lock()
        self._told: OrderedDict[FillKey, None] = OrderedDict()
        #: By slot: its instance.
        self._owners: dict[int, str] = {}
        #: By symbol.
        self._instruments: dict[str, Instrument] = {}
        #: Fills of symbols whose instrument is not known yet, with who saw them.
        self._waiting: list[tuple[Fill, str]] = []
        #: Symbols of which nobody can tell what they trade.
        self._left_out: set[str] = set()

    def watch(self, watched: WatchedAccount) -> None:
        """Learn whose slots are whose."""
        with self._lock:
            self._owners |= {each.slot: each.instance_id for each in watched.instances}

    def learn(self, instrument: Instrument) -> None:
        """Learn what a symbol trades, and tell the fills that waited for it."""
        with self._lock:
            self._instruments[instrument.symbol] = instrument
            ready = [each for each in self._waiting if each[0].symbol == instrument.symbol]
            self._waiting = [each for each in self._waiting if each[0].symbol != instrument.symbol]
        for fill, source in ready:
            self.tell_fills([fill], source)

    def unknown_symbols(self) -> frozenset[str]:
        """Return the symbols of fills that wait for their instrument."""
        with self._lock:
            return frozenset(fill.symbol for fill, _ in self._waiting)

    def leave_out(self, symbols: Collection[str]) -> None:
        """Forget the fills that wait for markets of which nobody can tell what they trade."""
        with self._lock:
            self._waiting = [each for each in self._waiting if each[0].symbol not in symbols]
            self._left_out |= set(symbols)

    def tell_updates(self, updates: Sequence[OrderUpdate]) -> None:
        """Tell what a stream said, in one step. Raises `redis.RedisError`; then nothing was told."""
        fills = [(each.fill, "stream") for each in updates if each.fill is not None]
        orders = [
            self._order_news(
                each.order,
                each.at_ms,
                reason=each.reason,
                created_at_ms=each.at_ms if each.event is OrderEvent.ACCEPTED else 0,
                is_execution=each.event in {OrderEvent.FILLED, OrderEvent.UNKNOWN},
            )
            for each in updates
        ]
        self._tell(fills, orders)

    def tell_fills(self, fills: Iterable[Fill], source: str) -> int:
        """Tell the fills that were not told yet; return how many.

        Raises `redis.RedisError`; what was told until then is told.
        """
        told, each = 0, iter([(fill, source) for fill in fills])
        # In parts, so that the thread of the stream need not wait for a long history.
        while part := list(islice(each, AT_ONCE)):
            told += self._tell(part, [])
        return told

    def tell_orders(self, orders: Iterable[OpenOrder], at_ms: int) -> None:
        """Tell how orders stood at `at_ms`, exchange time. Raises `redis.RedisError`."""
        self._own_fills.tell(
            [self._order_news(order, at_ms, created_at_ms=order.created_at_ms) for order in orders]
        )

    def tell_funding(self, payments: Iterable[FundingPayment]) -> None:
        """Tell payments; the ledger knows whose they are. Raises `redis.RedisError`."""
        bookings = [
            FundingBooking(
                account=self._account,
                symbol=payment.symbol,
                amount=payment.amount,
                rate=payment.rate,
                interval_end_ms=payment.interval_end_ms,
            )
            for payment in payments
        ]
        self._own_fills.tell([News(booking=booking.model_dump_json()) for booking in bookings])

    def tell_snapshot(self, snapshot: SnapshotBooking) -> None:
        """Tell what the account holds. Raises `redis.RedisError`."""
        self._own_fills.tell([News(booking=snapshot.model_dump_json())])

    def forget_told(self) -> None:
        """Tell everything again that is seen again: the state server may have lost what it took last."""
        with self._lock:
            self._told.clear()

    def _tell(self, fills: Sequence[tuple[Fill, str]], more: Sequence[News]) -> int:
        # Under the lock, so that what one thread is about to tell the other does not tell as well.
        with self._lock:
            new: dict[FillKey, News] = {}
            sources: list[str] = []
            for fill, source in fills:
                key = (fill.symbol, fill.order_id, fill.trade_id)
                if key in self._told or key in new or fill.symbol in self._left_out:
                    continue
                if fill.symbol not in self._instruments:
                    self._waiting.append((fill, source))
                    continue
                new[key] = self._fill_news(fill, source)
                sources.append(source)
            news = list(new.values())
            woken = self._own_fills.tell([*news, *more])
            self._told |= dict.fromkeys(new)
            while len(self._told) > TOLD_KEPT:
                self._told.popitem(last=False)
        for source in sources:
            families.FEED_FILLS.add(source)
        for each in news:
            if each.fill is not None:
                log.info(
                    "fill",
                    instance=each.instance_id,
                    account=self._account,
                    symbol=each.fill.symbol,
                    trade_id=each.fill.trade_id,
                    wake_up=woken.get(each.instance_id, ""),
                )
        return len(news)

    def _fill_news(self, fill: Fill, source: str) -> News:
        instance_id, epoch = self._owner(fill.client_order_id, fill.filled_at_ms)
        booking = FillBooking.of(
            fill,
            self._instruments[fill.symbol],
            account=self._account,
            instance_id=instance_id,
            epoch=epoch,
            level_role=_purpose(fill.client_order_id, instance_id),
            source=source,
        )
        return News(
            booking=booking.model_dump_json(), instance_id=instance_id, fill=fill, account=self._account
        )

    def _order_news(
        self,
        order: OpenOrder,
        at_ms: int,
        *,
        created_at_ms: int,
        reason: str = "",
        is_execution: bool = False,
    ) -> News:
        instance_id, epoch = self._owner(order.client_order_id, created_at_ms or at_ms)
        level, role = _purpose(order.client_order_id, instance_id) or (None, None)
        booking = OrderBooking(
            account=self._account,
            instance_id=instance_id,
            epoch=epoch,
            symbol=order.symbol,
            order_id=order.order_id,
            client_order_id=order.client_order_id,
            level=level,
            role=role,
            side=order.side,
            price=order.price,
            quantity=order.quantity,
            executed=order.executed_quantity,
            status=order.status,
            reason=reason,
            at_ms=at_ms,
            created_at_ms=created_at_ms,
        )
        return News(
            booking=booking.model_dump_json(),
            instance_id=instance_id,
            account=self._account,
            is_execution=is_execution,
        )

    def _owner(self, client_order_id: int | None, at_ms: int) -> tuple[str, int]:
        """Return instance and epoch of what happened at `at_ms`, empty and 0 for what is none of ours.

        What is watched lags behind a restart, so the run is asked for now: an order that was heard of before
        can be no later run's. What is older than the run has its epoch from whoever placed the order.
        """
        if client_order_id is None or client_order_id > LARGEST_CLIENT_ID:
            return "", 0
        slot = decode(client_order_id).slot
        if slot not in self._owners:
            self._owners[slot] = self._slot_owner(slot)
        instance_id = self._owners[slot]
        epoch, began_ms = self._own_fills.run_of(instance_id) if instance_id else (0, 0)
        return instance_id, epoch if at_ms >= began_ms else 0


def _purpose(client_order_id: int | None, instance_id: str) -> tuple[int, int] | None:
    """Return level and role of an instance's order, None for one that is nobody's."""
    return level_role(client_order_id) if instance_id and client_order_id is not None else None

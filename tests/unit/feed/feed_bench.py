"""A feed of one account without a network: its stream and its exchange do what a test says."""

from __future__ import annotations

import queue
import time
from collections.abc import Collection, Mapping
from decimal import Decimal

import redis

from exchanges.errors import StreamClosed
from exchanges.stream import BookChange, OrderEvent, OrderUpdate, Pulse, StreamEvent
from feed.account import AccountFeed
from feed.markets import Markets
from feed.reconciler import Reconciler
from feed.telling import Teller
from feed.watched import Connections, WatchedAccount, WatchedInstance
from ledger.queries import OrderRecord
from market.book import BookLevel
from market.position import Fill
from state.feeds import Feeds
from state.hearing import Hearing
from state.instances import Instances
from state.market_data import MarketData
from state.own_fills import OwnFills
from state.scripts import Scripts
from tests.factories import ACCOUNT, INSTANCE_ID, SLOT, SYMBOL, open_order
from tests.fake_venue import FakeVenue, FixedClock

#: Ends a connection when a stream comes to it.
END = object()


class FakeStream:
    """A stream that brings what a test puts in."""

    def __init__(self) -> None:
        self.opened = 0
        self.pings = 0
        self.answers_pings = False
        self.watched: list[frozenset[str]] = []
        #: What `open` raises next.
        self.refusals: list[Exception] = []
        self._events: queue.SimpleQueue[StreamEvent | object] = queue.SimpleQueue()
        self._is_closed = False
        self.last_heard_s = 0.0
        self.unreadable_messages = 0

    def open(self) -> None:
        """Connect."""
        if self._is_closed:
            raise StreamClosed("closed")
        if self.refusals:
            raise self.refusals.pop(0)
        self.opened += 1
        self.last_heard_s = time.monotonic()

    def watch(self, symbols: Collection[str]) -> None:
        """Note the subscriptions."""
        self.watched.append(frozenset(symbols))

    def receive(self, timeout_s: float) -> tuple[StreamEvent, ...]:
        """Return what was put in."""
        found: list[StreamEvent] = []
        try:
            event = self._events.get(timeout=timeout_s)
            while True:
                if event is END or self._is_closed:
                    raise StreamClosed("ended")
                found.append(event)  # type: ignore[arg-type]
                event = self._events.get_nowait()
        except queue.Empty:
            return tuple(found)

    def ping(self) -> None:
        """Count."""
        self.pings += 1
        if self.answers_pings:
            self.last_heard_s = time.monotonic()

    def close(self) -> None:
        """End for good."""
        self._is_closed = True
        self._events.put(END)

    def bring(self, *events: StreamEvent | object) -> None:
        """Let these come."""
        for event in events:
            self._events.put(event)


class RealClock(FixedClock):
    """The exchange's clock is that of this machine."""

    def now_ms(self) -> int:
        """Return the time."""
        return time.time_ns() // 1_000_000

    def known_ms(self) -> int | None:
        """Return the time."""
        return self.now_ms()


class FeedBench:
    """One account with one running instance on the real state server."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client
        self._is_started = False
        scripts = Scripts(client)
        self.venue = FakeVenue()
        self.venue.the_clock = RealClock()
        self.stream = FakeStream()
        self.feeds = Feeds(client, scripts)
        self.own_fills = OwnFills(client, scripts)
        self.hearing = Hearing(scripts)
        self.market_data = MarketData(client, scripts)
        self.instances = Instances(client, scripts)
        self.instances.start(
            INSTANCE_ID, config_version="v1", config_json="{}", slot=SLOT, account=ACCOUNT, by="test"
        )
        #: What the ledger takes for open.
        self.believed: tuple[OrderRecord, ...] = ()
        self.owners: Mapping[int, str] = {}
        #: Bookings that wait for the ledger, as the reconciler is told.
        self.waiting = 0
        self.teller = Teller(ACCOUNT, self.own_fills, lambda slot: self.owners.get(slot, ""))
        self.markets = Markets("backpack-simulated", self.venue, self.market_data)
        self.reconciler = Reconciler(
            lambda: self.feed.watched,
            self.venue,
            self.feeds,
            self.teller,
            lambda: self.believed,
            self.instances.now_ms,
            lambda: self.waiting,
        )
        self.feed = AccountFeed(
            watched(),
            Connections(venue=self.venue, stream=self.stream),
            self.markets,
            self.teller,
            self.reconciler,
            self.own_fills,
            self.hearing,
        )

    def start(self) -> None:
        """Begin to listen."""
        self._is_started = True
        self.feed.start()

    def stop(self) -> None:
        """End the threads."""
        self.feed.stop()
        if self._is_started:
            self.feed.join(30)

    def woken(self) -> bool:
        """Tell whether the instance was asked to look, and forget it."""
        key = f"cleanbook:{{{INSTANCE_ID}}}:record"
        return bool(self.client.hdel(key, "woken"))


def watched(*, is_running: bool = True, max_silence_s: float | None = None) -> WatchedAccount:
    """Return the account with its one instance."""
    instance = WatchedInstance(
        instance_id=INSTANCE_ID,
        slot=SLOT,
        symbol=SYMBOL,
        started_at_ms=1_000_000,
        is_running=is_running,
        max_silence_s=max_silence_s,
    )
    return WatchedAccount(account=ACCOUNT, venue_name="backpack-simulated", instances=(instance,))


def filled(fill: Fill) -> OrderUpdate:
    """Return what a stream says of a fill."""
    order = open_order(fill.order_id, slot=SLOT)
    return OrderUpdate(
        symbol=fill.symbol,
        order=order,
        event=OrderEvent.FILLED,
        reason="",
        at_ms=fill.filled_at_ms,
        fill=fill,
    )


def change(first: int, last: int | None = None, *, bid: str = "99.9", at_ms: int = 1_000_000) -> BookChange:
    """Return a change of the book."""
    return BookChange(
        symbol=SYMBOL,
        first_update_id=first,
        last_update_id=first if last is None else last,
        bids=(BookLevel(price=Decimal(bid), quantity=Decimal(7)),),
        asks=(),
        at_ms=at_ms,
    )


def pulse(symbol: str = SYMBOL, *, ago_ms: int = 0) -> Pulse:
    """Return a sign of life that the exchange gave so long ago."""
    return Pulse(symbol=symbol, at_ms=time.time_ns() // 1_000_000 - ago_ms)

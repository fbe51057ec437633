"""The order books of an account's symbols: followed from the stream, and kept in Redis for iterations."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from decimal import Decimal

import redis
import structlog

from exchanges.base import DepthSnapshot, Exchange
from exchanges.errors import ExchangeError
from exchanges.local_book import LocalBook
from exchanges.stream import BookChange
from market.book import OrderBook
from state.market_data import MarketData

log = structlog.get_logger(__name__)

#: Levels of each side that iterations get.
LEVELS = 50
#: A book is kept at most this often; the first change after a pause at once.
LEAST_GAP_S = 0.05
#: Between two tries to get a snapshot.
SNAPSHOT_PAUSE_S = 1.0
#: A book that has not changed for so long is compared with the exchange's: its stream alone may be dead.
QUIET_S = 20.0
#: How long behind a snapshot its change may still come.
STREAM_LAG_S = 3.0
THREADS = 2


class StreamFrozen(ExchangeError):
    """Raised when a connection stands and nothing, or not everything, comes over it."""


@dataclass(kw_only=True)
class _Market:
    book: LocalBook
    changed_s: float
    #: True: Redis does not have the newest change.
    is_dirty: bool = False
    kept_s: float = 0.0
    #: Not before: the next snapshot.
    snapshot_due_s: float = 0.0
    is_asked: bool = False
    last_update_id: int = 0
    #: A snapshot said that there are changes up to this number; they have to come until then.
    owed: tuple[int, float] | None = field(default=None)


class Markets:
    """For the thread that reads the stream; questions to the exchange are asked by threads of its own."""

    def __init__(
        self,
        venue_name: str,
        venue: Exchange,
        market_data: MarketData,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._venue_name = venue_name
        self._venue = venue
        self._market_data = market_data
        self._clock = clock
        self._markets: dict[str, _Market] = {}
        #: Mark prices that Redis does not have.
        self._marks: dict[str, Decimal] = {}
        self._questions: queue.SimpleQueue[LocalBook | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[tuple[LocalBook, DepthSnapshot | None]] = queue.SimpleQueue()
        #: The books that the last `work` has kept.
        self.kept: tuple[OrderBook, ...] = ()
        for _ in range(THREADS):
            # Daemons: an exchange that hangs must not keep the process from ending.
            threading.Thread(target=self._answer, name="snapshot", daemon=True).start()

    def restart(self) -> None:
        """Begin anew, for a new connection: what is not followed is not shown. Raises `redis.RedisError`."""
        now_s = self._clock()
        self._market_data.drop(self._venue_name, list(self._markets))
        self._markets = {s: _Market(book=LocalBook(s), changed_s=now_s) for s in self._markets}

    def watch(self, symbols: Collection[str]) -> None:
        """Follow exactly these symbols. Raises `redis.RedisError`."""
        now_s = self._clock()
        known = self._markets
        self._market_data.drop(self._venue_name, [symbol for symbol in known if symbol not in symbols])
        self._markets = {s: known.get(s) or _Market(book=LocalBook(s), changed_s=now_s) for s in symbols}

    def take(self, change: BookChange) -> None:
        """Take in a change from the stream."""
        market = self._markets.get(change.symbol)
        if market is None:
            return
        market.book.apply(change)
        market.changed_s = self._clock()
        market.is_dirty = True
        market.last_update_id = change.last_update_id
        if market.owed is not None and change.last_update_id >= market.owed[0]:
            market.owed = None

    def take_mark(self, symbol: str, price: Decimal) -> None:
        """Take in a mark price from the stream."""
        if symbol in self._markets:
            self._marks[symbol] = price

    def work(self) -> bool:
        """Ask for snapshots, take in those that came, keep what has changed; tell whether some is left to do.

        Raises `StreamFrozen` when the exchange has changes that the stream never brought, `redis.RedisError`.
        """
        now_s = self._clock()
        self._load_answers(now_s)
        for symbol, market in self._markets.items():
            if market.owed is not None and now_s > market.owed[1]:
                raise StreamFrozen(f"the book of {symbol} has changed, and its stream does not say so")
            is_quiet = now_s - market.changed_s > QUIET_S and market.owed is None
            if (market.book.needs_snapshot or is_quiet) and not market.is_asked:
                self._ask(market, now_s)
        return self._keep(now_s)

    def close(self) -> None:
        """End the threads."""
        for _ in range(THREADS):
            self._questions.put(None)

    def _ask(self, market: _Market, now_s: float) -> None:
        if now_s < market.snapshot_due_s:
            return
        market.is_asked = True
        market.snapshot_due_s = now_s + (SNAPSHOT_PAUSE_S if market.book.needs_snapshot else QUIET_S)
        self._questions.put(market.book)

    def _answer(self) -> None:
        while (book := self._questions.get()) is not None:
            try:
                snapshot: DepthSnapshot | None = self._venue.depth_snapshot(book.symbol)
            except Exception as error:
                # The thread's boundary: without an answer nobody would ask again.
                expected = isinstance(error, (ExchangeError, redis.RedisError))
                log.warning(
                    "no snapshot of the book",
                    symbol=book.symbol,
                    error=f"{type(error).__name__}: {error}",
                    exc_info=not expected,
                )
                snapshot = None
            self._answers.put((book, snapshot))

    def _load_answers(self, now_s: float) -> None:
        while True:
            try:
                book, snapshot = self._answers.get_nowait()
            except queue.Empty:
                return
            market = self._markets.get(book.symbol)
            if market is None or market.book is not book:
                continue  # of an earlier connection
            market.is_asked = False
            if snapshot is None:
                continue
            if not book.needs_snapshot and snapshot.last_update_id > market.last_update_id:
                market.owed = (snapshot.last_update_id, now_s + STREAM_LAG_S)
                continue
            if book.needs_snapshot:
                book.load(snapshot)
                market.is_dirty = not book.needs_snapshot
                market.last_update_id = max(market.last_update_id, snapshot.last_update_id)

    def _keep(self, now_s: float) -> bool:
        due = [m for m in self._markets.values() if m.is_dirty and not m.book.needs_snapshot]
        ripe = [market for market in due if now_s - market.kept_s >= LEAST_GAP_S]
        self.kept = tuple(book for market in ripe if (book := market.book.book(LEVELS)) is not None)
        self._market_data.put(self._venue_name, self.kept, self._marks)
        self._marks = {}
        for market in ripe:
            market.is_dirty, market.kept_s = False, now_s
        return len(due) > len(ripe)

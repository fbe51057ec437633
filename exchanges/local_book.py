"""One symbol's book, kept from changes: either right, or known to need a new snapshot."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable

from exchanges.base import DepthSnapshot
from exchanges.stream import BookChange
from market.book import BookLevel, OrderBook

#: Changes kept until a snapshot comes; of more, the oldest go, and the snapshot must be that much newer.
MAX_WAITING = 10_000
#: Of the levels that a snapshot was cut to, one in so many must be left.
LEAST_KNOWN_DIVISOR = 10
#: A snapshot and a change may be stamped by machines whose clocks differ by this.
CLOCK_SLACK_MS = 60_000


class _Side:
    """Levels by price, with the prices in ascending order beside them."""

    def __init__(self, levels: Iterable[BookLevel]) -> None:
        self._levels = {level.price: level for level in levels}
        self._prices = sorted(self._levels)

    def __len__(self) -> int:
        return len(self._prices)

    def enter(self, level: BookLevel) -> None:
        known = level.price in self._levels
        if level.quantity:
            self._levels[level.price] = level
            if not known:
                insort(self._prices, level.price)
        elif known:
            del self._levels[level.price]
            del self._prices[bisect_left(self._prices, level.price)]

    def lowest(self, count: int) -> tuple[BookLevel, ...]:
        return tuple(self._levels[price] for price in self._prices[:count])

    def highest(self, count: int) -> tuple[BookLevel, ...]:
        return tuple(self._levels[price] for price in reversed(self._prices[-count:]))


class _Sides:
    """Both sides, as far as the snapshot they come from reached."""

    def __init__(self, snapshot: DepthSnapshot) -> None:
        bids, asks, limit = snapshot.book.bids, snapshot.book.asks, snapshot.max_levels
        self.bids, self.asks = _Side(bids), _Side(asks)
        # Where a side was cut, its last level ends what is known of it.
        self._lowest_bid = bids[-1].price if limit and len(bids) >= limit else None
        self._highest_ask = asks[-1].price if limit and len(asks) >= limit else None
        self._least = 0 if limit is None else limit // LEAST_KNOWN_DIVISOR

    @property
    def are_worn(self) -> bool:
        """Tell whether a side that was cut has lost most of its levels: those that followed are not known."""
        return (self._lowest_bid is not None and len(self.bids) <= self._least) or (
            self._highest_ask is not None and len(self.asks) <= self._least
        )

    def enter(self, change: BookChange) -> None:
        for level in change.bids:
            if self._lowest_bid is None or level.price >= self._lowest_bid:
                self.bids.enter(level)
        for level in change.asks:
            if self._highest_ask is None or level.price <= self._highest_ask:
                self.asks.enter(level)


class LocalBook:
    """A book that follows `BookChange`s.

    Changes wait until a snapshot with its number comes (`load`). From there they must follow each other
    without a gap; those that the book already has are passed over. After a gap the book is gone,
    `needs_snapshot` is True, and changes wait again.

    Snapshots are cut: what lies beyond their last level is unknown. Changes out there are passed over, and a
    book that has lost most of its known levels, after a long way of the price, needs a new snapshot too.
    """

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        #: Changes without a gap between them, oldest first.
        self._waiting: deque[BookChange] = deque(maxlen=MAX_WAITING)
        self._sides: _Sides | None = None
        self._last_update_id: int | None = None
        #: Nothing was applied to the snapshot yet: the first change may reach back behind it.
        self._is_joining = False
        #: A change with an old number and a later time than this is no duplicate.
        self._newest_ms = 0
        self._updated_at_ms = 0

    @property
    def needs_snapshot(self) -> bool:
        """Tell whether there is no book until `load` brings a snapshot that fits the changes that wait."""
        return self._sides is None

    def apply(self, change: BookChange) -> None:
        """Take in a change. One that does not follow the last makes the book need a snapshot."""
        last = self._last_update_id
        if last is not None:
            if change.last_update_id <= last and change.at_ms <= self._newest_ms:
                return
            joins = self._is_joining and change.first_update_id <= last + 1 <= change.last_update_id
            # An old number at a later time does not follow either: the exchange counts anew.
            if change.first_update_id != last + 1 and not joins:
                self._forget()
        self._last_update_id, self._newest_ms = change.last_update_id, change.at_ms
        self._is_joining = False
        if self._sides is None:
            self._waiting.append(change)
            return
        self._updated_at_ms = max(self._updated_at_ms, change.at_ms)
        self._sides.enter(change)
        if self._sides.are_worn:
            self._forget()

    def load(self, snapshot: DepthSnapshot) -> None:
        """Begin with `snapshot`, and go on with the changes that waited for it.

        Does nothing when it is too old for them, or older than the book there is.
        """
        if self._sides is not None and snapshot.last_update_id <= (self._last_update_id or 0):
            return
        newer = [change for change in self._waiting if change.last_update_id > snapshot.last_update_id]
        if newer and newer[0].first_update_id > snapshot.last_update_id + 1:
            return
        self._forget()
        self._sides = _Sides(snapshot)
        self._last_update_id = snapshot.last_update_id
        self._is_joining = True
        self._updated_at_ms = snapshot.book.updated_at_ms
        self._newest_ms = snapshot.book.updated_at_ms + CLOCK_SLACK_MS
        for change in newer:
            self.apply(change)

    def book(self, levels: int) -> OrderBook | None:
        """Return the best `levels` of each side, None while a snapshot is needed.

        `updated_at_ms` is the time of the last change.
        """
        if self._sides is None:
            return None
        return OrderBook(
            symbol=self.symbol,
            bids=self._sides.bids.highest(levels),
            asks=self._sides.asks.lowest(levels),
            updated_at_ms=self._updated_at_ms,
        )

    def _forget(self) -> None:
        self._sides = None
        self._last_update_id = None
        self._is_joining = False
        self._waiting.clear()

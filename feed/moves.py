"""Which instances asked to be woken by a move of the price, and when it has moved far enough. No clock."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from feed.watched import WatchedInstance
from market.book import OrderBook

BPS = 10_000


@dataclass(frozen=True)
class _Anchor:
    """What a move is measured from."""

    mid: Decimal
    #: When the instance was woken last, monotonic seconds; None: not yet.
    woken_s: float | None


class Moves:
    """Compares the middle of each book with what it was when the instance was woken last.

    Iterations on schedule move no anchor, since a feed does not see them: so one comes at the latest once
    the middle is twice the move that was asked for away from where it was at the iteration before.
    """

    def __init__(self) -> None:
        self._instances: tuple[WatchedInstance, ...] = ()
        #: By symbol: the newest middle.
        self._mids: dict[str, Decimal] = {}
        #: By instance.
        self._anchors: dict[str, _Anchor] = {}

    def watch(self, instances: Iterable[WatchedInstance]) -> None:
        """Follow these, as far as they ask for it; one that is new begins with the next book."""
        self._instances = tuple(
            each for each in instances if each.is_running and each.wake_on_move is not None
        )
        names = {each.instance_id for each in self._instances}
        symbols = {each.symbol for each in self._instances}
        self._anchors = {name: anchor for name, anchor in self._anchors.items() if name in names}
        self._mids = {symbol: mid for symbol, mid in self._mids.items() if symbol in symbols}

    def seen(self, books: Iterable[OrderBook]) -> None:
        """Take in books that iterations can read by now."""
        for book in books:
            if book.mid is not None:
                self._mids[book.symbol] = book.mid

    def due(self, now_s: float) -> tuple[str, ...]:
        """Return the instances to wake now; each is measured from here on."""
        return tuple(each.instance_id for each in self._instances if self._moves(each, now_s))

    def _moves(self, each: WatchedInstance, now_s: float) -> bool:
        """Tell whether an instance is to be woken, and move its anchor if so."""
        mid, anchor, wish = (
            self._mids.get(each.symbol),
            self._anchors.get(each.instance_id),
            each.wake_on_move,
        )
        if mid is None or wish is None:
            return False
        if anchor is None:
            self._anchors[each.instance_id] = _Anchor(mid, None)
            return False
        if abs(mid - anchor.mid) * BPS <= wish.move_bps * anchor.mid:
            return False
        if anchor.woken_s is not None and now_s - anchor.woken_s < wish.spacing_s:
            return False  # looked at again, whether or not the book changes once more
        self._anchors[each.instance_id] = _Anchor(mid, now_s)
        return True

"""What `feed_load.py` measured, as a table and as one line of JSON."""

from __future__ import annotations

import json
import os
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.figures import median, nearest_rank
from bench.process_usage import Use

#: Behind this the feed is no longer on time: a book is kept at most every 50 ms, five times that is a jam.
LATE_P99_MS = 250
COLUMNS = (
    *("changes of each book/s", "messages/s", "feed CPU %", "µs/message", "feed MB"),
    *("book delay p50 ms", "p99", "max", "not there after 1 s", "fill delay p50 ms", "p99"),
    *("queue max", "exchange CPU %", "server CPU %"),
)


@dataclass(frozen=True, kw_only=True)
class Span:
    """What was measured while the exchange talked at one rate."""

    #: Asked for, of each symbol.
    depth_per_s: float
    seconds: float
    messages: int
    feed: Use
    venue: Use
    server: Use
    #: From each change of a book to its being in the state server.
    book_delays_ms: tuple[int, ...]
    #: Changes that were not in the state server by the end.
    missing: int
    #: From each fill to its being with its instance.
    fill_delays_ms: tuple[int, ...]
    #: Bookings that waited for the ledger, looked at all the time.
    queue: tuple[int, ...]

    @property
    def per_s(self) -> float:
        """Return the messages sent, and taken as the delays show, a second."""
        return self.messages / self.seconds

    @property
    def feed_percent(self) -> float:
        """Return the CPU time of the feed, per cent of one core."""
        return self.feed.cpu_s / self.seconds * 100

    @property
    def is_on_time(self) -> bool:
        """Tell whether nearly every change was there in time."""
        return bool(self.book_delays_ms) and nearest_rank(self.book_delays_ms, 0.99) <= LATE_P99_MS


def delays(changed_ms: Sequence[int], kept: Sequence[tuple[int, int]]) -> tuple[list[int], int]:
    """Return how long each change of a book took to be kept, and how many were not.

    `kept` are the books that were found, with the time of their last change and that of their arrival. A
    change that another one followed at once is in the state server with that one.
    """
    books = sorted(set(kept))
    times = [changed for changed, _ in books]
    found = []
    for at_ms in changed_ms:
        place = bisect_left(times, at_ms)
        if place < len(books):
            found.append(books[place][1] - at_ms)
    return found, len(changed_ms) - len(found)


def table(spans: Sequence[Span]) -> str:
    """Return a line for each rate."""
    lines = [f"| {' | '.join(COLUMNS)} |", "|---:" * len(COLUMNS) + "|"]
    for span in spans:
        books, fills = span.book_delays_ms, span.fill_delays_ms
        cells = [
            f"{span.depth_per_s:g}",
            f"{span.per_s:.0f}",
            f"{span.feed_percent:.0f}",
            f"{span.feed.cpu_s / max(1, span.messages) * 1e6:.0f}",
            f"{span.feed.pss_mb:.0f}",
            *(f"{value:.0f}" for value in (median(books), nearest_rank(books, 0.99), max(books))),
            str(span.missing),
            *(f"{value:.0f}" for value in (median(fills), nearest_rank(fills, 0.99))),
            str(max(span.queue)),
            *(f"{each.cpu_s / span.seconds * 100:.0f}" for each in (span.venue, span.server)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def report(spans: Sequence[Span], *, instances: int, symbols: int, loads: Sequence[float]) -> None:
    """Print both on standard output.

    The first span is the load that is asked for; the others look for the limit.
    """
    print(table(spans))
    first = spans[0]
    on_time = [span for span in spans if span.is_on_time]
    figures: Mapping[str, object] = {
        "bench": "feed_load",
        "instances": instances,
        "symbols": symbols,
        "depth_per_s": first.depth_per_s,
        "seconds": round(first.seconds, 1),
        "load_1_min": [round(each, 2) for each in (*loads, os.getloadavg()[0])],
        "messages_per_s": round(first.per_s, 1),
        "feed_cpu_percent": round(first.feed_percent, 1),
        "feed_memory_mb": round(first.feed.pss_mb, 1),
        "book_delay_p50_ms": median(first.book_delays_ms),
        "book_delay_p99_ms": nearest_rank(first.book_delays_ms, 0.99),
        "books_missing": first.missing,
        "fill_delay_p50_ms": median(first.fill_delays_ms),
        "fill_delay_p99_ms": nearest_rank(first.fill_delays_ms, 0.99),
        "queue_max": max(first.queue),
        "most_messages_per_s_on_time": round(max((span.per_s for span in on_time), default=0.0), 1),
        "on_time_up_to_the_last_rate": len(on_time) == len(spans),
    }
    print(json.dumps(figures))

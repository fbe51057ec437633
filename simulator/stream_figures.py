"""Streams that tell figures by the clock: tickers, mark prices, candles, open interest."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from simulator import stream_messages
from simulator.engine import Engine
from simulator.funding import QUIET_RATE, next_hour_ms
from simulator.published import INTERVALS_S, candles, figures
from simulator.stream_messages import Data
from simulator.stream_names import Stream

#: Between two messages of open interest.
OPEN_INTEREST_US = 60_000_000


class FigureStreams:
    """Those that somebody subscribed to, and what candles were told of last."""

    def __init__(self, engine: Engine, now_us: Callable[[], int]) -> None:
        self._engine = engine
        self._now_us = now_us
        self._streams: dict[str, Stream] = {}
        #: By stream: when the candle told last began (s), and what was told of it.
        self._candles: dict[str, tuple[int, Data]] = {}
        self._interest_told_us: dict[str, int] = {}

    def add(self, stream: Stream) -> None:
        """Take up a stream, if it is one of these."""
        if stream.kind not in {"ticker", "markPrice", "kline", "openInterest"}:
            return
        self._streams[stream.name] = stream
        if stream.kind == "kline":
            start_s = _start_s(self._now_us(), INTERVALS_S[stream.interval])
            self._candles.setdefault(stream.name, (start_s, {}))

    def remove(self, name: str) -> None:
        """Drop a stream that nobody is subscribed to."""
        for told in (self._streams, self._candles, self._interest_told_us):
            told.pop(name, None)

    def due(self) -> Iterator[tuple[str, Data]]:
        """Yield what is to be told now, by stream."""
        for name, stream in list(self._streams.items()):
            symbol = stream.symbol or ""
            at_us = self._now_us()
            if stream.kind == "kline":
                for told in self._candle(name, symbol, stream.interval, at_us):
                    yield name, {"e": "kline", "E": at_us} | told
            elif (data := self._figure(name, stream.kind, symbol, at_us)) is not None:
                yield name, data

    def _figure(self, name: str, kind: str, symbol: str, at_us: int) -> Data | None:
        book = self._engine.books[symbol]
        if kind == "markPrice":
            return stream_messages.mark_price(book, QUIET_RATE, next_hour_ms(at_us // 1000), at_us)
        if kind == "ticker":
            day = figures(book.trades)
            return None if day is None else stream_messages.ticker(symbol, day, at_us)
        if at_us < self._interest_told_us.get(name, 0) + OPEN_INTEREST_US:
            return None
        self._interest_told_us[name] = at_us
        return stream_messages.open_interest(symbol, at_us)

    def _candle(self, name: str, symbol: str, interval: str, at_us: int) -> Iterator[Data]:
        interval_s = INTERVALS_S[interval]
        start_s = _start_s(at_us, interval_s)
        told_start_s, told = self._candles[name]
        shown = candles(self._engine.books[symbol], interval_s, told_start_s, at_us // 1_000_000)
        for closed_s in sorted(begun_s for begun_s in shown if begun_s < start_s):
            yield stream_messages.candle(symbol, closed_s, interval_s, shown[closed_s], closed=True)
        if start_s in shown:
            data = stream_messages.candle(symbol, start_s, interval_s, shown[start_s], closed=False)
            if start_s > told_start_s or data != told:
                yield data
            told = data
        self._candles[name] = (start_s, told)


def _start_s(at_us: int, interval_s: int) -> int:
    return at_us // 1_000_000 // interval_s * interval_s

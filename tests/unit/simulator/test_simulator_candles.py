"""When candles are told, by a clock that is set: each once more when it closes, also one not seen open."""

from __future__ import annotations

from typing import Any

import pytest

from simulator import stream_names
from simulator.stream_figures import FigureStreams
from tests.unit.simulator.small_exchange import SPOT, SmallExchange

NAME = f"kline.1s.{SPOT}"


@pytest.fixture
def exchange() -> SmallExchange:
    return SmallExchange()


@pytest.fixture
def streams(exchange: SmallExchange) -> FigureStreams:
    streams = FigureStreams(exchange.engine, lambda: exchange.now_ms * 1000)
    streams.add(stream_names.parse(NAME))
    return streams


def told(streams: FigureStreams) -> list[tuple[Any, ...]]:
    """Return the closing price of each candle told now, its trades, and whether it has closed."""
    return [(data["c"], data["n"], data["X"]) for name, data in streams.due() if name == NAME]


def test_a_candle_is_told_when_it_changes_and_a_last_time_when_it_closes(
    exchange: SmallExchange, streams: FigureStreams
) -> None:
    assert told(streams) == []
    exchange.trade("149.9", "0.5", sells=True)
    assert told(streams) == [("149.9", 1, False)]
    assert told(streams) == []
    exchange.trade("149.8", "0.5", sells=True)
    assert told(streams) == [("149.8", 2, False)]
    exchange.now_ms += 1000
    assert told(streams) == [("149.8", 2, True)]
    exchange.now_ms += 1000
    assert told(streams) == []


@pytest.mark.parametrize("later_ms", [1000, 5000])
def test_a_candle_that_closes_before_anybody_looks_is_told_closed(
    exchange: SmallExchange, streams: FigureStreams, later_ms: int
) -> None:
    exchange.now_ms += 999
    exchange.trade("149.9", "0.5", sells=True)
    exchange.now_ms += later_ms
    exchange.trade("150.1", "1", sells=False)
    assert told(streams) == [("149.9", 1, True), ("150.1", 1, False)]


def test_candles_that_closed_between_two_looks_are_told_in_turn(
    exchange: SmallExchange, streams: FigureStreams
) -> None:
    for price in ("149", "150", "151"):
        exchange.trade(price, "1", sells=True)
        exchange.now_ms += 1000
    assert told(streams) == [("149", 1, True), ("150", 1, True), ("151", 1, True)]


def test_what_was_traded_before_anybody_listened_is_not_told(exchange: SmallExchange) -> None:
    exchange.trade("149", "1", sells=True)
    exchange.now_ms += 1000
    streams = FigureStreams(exchange.engine, lambda: exchange.now_ms * 1000)
    streams.add(stream_names.parse(NAME))
    exchange.now_ms += 1000
    assert told(streams) == []

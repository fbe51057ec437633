"""Synthetic market flow: a seeded random walk of the touch with trades. The same seed gives the same flow."""

from __future__ import annotations

import asyncio
import random
from decimal import Decimal

from simulator.engine import Engine
from simulator.markets import MARKETS, Market

#: Events a second, per market.
EVENTS_PER_S = 10
#: Half of the outside spread, ticks.
HALF_SPREAD_TICKS = 2
#: Typical move of the middle per event, basis points.
MOVE_BPS = 1.0
#: One event in this many is a sweep that trades this far through the touch, basis points.
SWEEP_ONE_IN = 25
SWEEP_BPS = 15


class SyntheticFlow:
    """Moves every market one event at a time; who calls `step` decides how fast."""

    def __init__(self, engine: Engine, seed: int) -> None:
        self._engine = engine
        self._random = random.Random(seed)
        self._mids = {symbol: market.start_price for symbol, market in MARKETS.items()}
        for symbol in MARKETS:
            self._show(symbol)

    def step(self) -> None:
        """Make one event on every market."""
        for symbol, market in MARKETS.items():
            move = Decimal(str(round(self._random.gauss(0, MOVE_BPS), 3))) / 10_000
            # A weak pull back to the start keeps a long run within the price band.
            pull = (market.start_price - self._mids[symbol]) / market.start_price / 500
            self._mids[symbol] = self._mids[symbol] * (1 + move + pull)
            self._show(symbol)
            self._trade(market)

    def move(self, symbol: str, mid: Decimal) -> None:
        """Set the middle, for tests."""
        self._mids[symbol] = mid
        self._show(symbol)

    def _show(self, symbol: str) -> None:
        market = MARKETS[symbol]
        centre = (self._mids[symbol] / market.tick).to_integral_value() * market.tick
        half = market.tick * HALF_SPREAD_TICKS
        quantity = market.min_quantity * self._random.randint(50, 500)
        self._engine.outside_quote(symbol, centre - half, quantity, centre + half, quantity)

    def _trade(self, market: Market) -> None:
        sells = self._random.random() < 0.5
        sweep = self._random.randrange(SWEEP_ONE_IN) == 0
        size = market.min_quantity * self._random.randint(1, 100)
        book = self._engine.books[market.symbol]
        touch = book.bid if sells else book.ask
        reach = touch * SWEEP_BPS / 10_000 if sweep else Decimal(0)
        ticks = (reach / market.tick).to_integral_value() * market.tick
        price = touch - ticks if sells else touch + ticks
        self._engine.outside_trade(market.symbol, price, size, aggressor_sells=sells)


async def run_synthetic(flow: SyntheticFlow) -> None:
    """Step the flow until cancelled."""
    while True:
        await asyncio.sleep(1 / EVENTS_PER_S)
        flow.step()

"""Synthetic market flow: a seeded random walk of the touch with trades. The same seed gives the same flow."""

from __future__ import annotations

import asyncio
import random
from decimal import Decimal

from simulator.engine import Engine
from simulator.markets import MARKETS, Market

#: Events a second, per market, at speed 1.
EVENTS_PER_S = 10
#: A flow that is further behind its time than this does not catch up.
LONGEST_LAG_S = 1.0
#: Half of the outside spread, ticks.
HALF_SPREAD_TICKS = 2
#: Typical move of the middle per event, basis points.
MOVE_BPS = 1.0
#: One event in this many is a sweep that trades this far through the touch, basis points.
SWEEP_ONE_IN = 25
SWEEP_BPS = 15
#: How far the touch keeps away from an order that it took a part of, basis points at least and at most.
BOUNCE_BPS = (2, 20)


class SyntheticFlow:
    """Moves every market one event at a time; who calls `step` decides how fast."""

    def __init__(self, engine: Engine, seed: int, partial_percent: int = 0) -> None:
        self._engine = engine
        self._random = random.Random(seed)
        #: Of the moves and trades that would run over an order, those that take a part of it and stop there.
        self._partial_percent = partial_percent
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
            if self._partial_percent and self._bounces(market):
                continue
            self._show(symbol)
            self._trade(market)

    def move(self, symbol: str, mid: Decimal) -> None:
        """Set the middle, for tests."""
        self._mids[symbol] = mid
        self._show(symbol)

    def _show(self, symbol: str) -> None:
        market = MARKETS[symbol]
        bid, ask = self._touch(market)
        quantity = market.min_quantity * self._random.randint(50, 500)
        self._engine.outside_quote(symbol, bid, quantity, ask, quantity)

    def _touch(self, market: Market) -> tuple[Decimal, Decimal]:
        centre = (self._mids[market.symbol] / market.tick).to_integral_value() * market.tick
        half = market.tick * HALF_SPREAD_TICKS
        return centre - half, centre + half

    def _trade(self, market: Market) -> None:
        sells = self._random.random() < 0.5
        sweep = self._random.randrange(SWEEP_ONE_IN) == 0
        size = market.min_quantity * self._random.randint(1, 100)
        book = self._engine.books[market.symbol]
        touch = book.bid if sells else book.ask
        reach = touch * SWEEP_BPS / 10_000 if sweep else Decimal(0)
        ticks = (reach / market.tick).to_integral_value() * market.tick
        price = touch - ticks if sells else touch + ticks
        if not self._takes_a_part(market, price, sells=sells):
            self._engine.outside_trade(market.symbol, price, size, aggressor_sells=sells)

    def _bounces(self, market: Market) -> bool:
        """Tell whether the touch took a part of an order that it came to; then it keeps away from it."""
        bid, ask = self._touch(market)
        for sells, reached in ((True, ask - market.tick), (False, bid + market.tick)):
            price = self._takes_a_part(market, reached, sells=sells)
            if price:
                away = price * Decimal(self._random.randint(*BOUNCE_BPS)) / 10_000
                away += market.tick * (HALF_SPREAD_TICKS + 1)
                self._mids[market.symbol] = price + away if sells else price - away
                self._show(market.symbol)
                return True
        return False

    def _takes_a_part(self, market: Market, price: Decimal, *, sells: bool) -> Decimal | None:
        """Trade a part of the first order that lies before `price`; return its price, None: no trade."""
        if self._partial_percent == 0:
            return None
        order = next(iter(self._engine.resting.side(market.symbol, bids=sells)), None)
        if order is None or (order.price <= price if sells else order.price >= price):
            return None
        steps = int(order.remaining / market.step)
        if steps < 2 or self._random.randrange(100) >= self._partial_percent:
            return None
        part = market.step * self._random.randrange(1, steps)
        self._engine.outside_trade(market.symbol, order.price, order.ahead + part, aggressor_sells=sells)
        return order.price


async def run_synthetic(flow: SyntheticFlow, speed: float) -> None:
    """Step the flow `EVENTS_PER_S` times `speed` times a second, or as often as it can, until cancelled."""
    loop = asyncio.get_running_loop()
    due_s = loop.time()
    while True:
        due_s = max(due_s + 1 / (EVENTS_PER_S * speed), loop.time() - LONGEST_LAG_S)
        # Requests are let in after every event, also when the flow is behind its time.
        await asyncio.sleep(max(0.0, due_s - loop.time()))
        flow.step()

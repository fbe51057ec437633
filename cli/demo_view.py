"""What the demo shows: the instance as Redis knows it, its orders and fills as the exchange knows them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from rich.table import Table

from cli.language import tr
from exchanges.errors import ExchangeError
from market.orders import OpenOrder, Side
from market.position import Fill
from runner.config import load_instance
from runner.context import Context


@dataclass(frozen=True, kw_only=True)
class DemoState:
    """One look at the instance."""

    instance_id: str
    symbol: str
    running_s: float
    phase: str
    epoch: int
    iterations: int
    #: None: the exchange did not answer this time.
    best_bid: Decimal | None
    best_ask: Decimal | None
    orders: tuple[OpenOrder, ...] | None
    fills: tuple[Fill, ...]
    problem: str

    def prices(self, side: Side) -> str:
        """Return the prices of the instance's orders on one side, best first."""
        if self.orders is None:
            return "?"
        prices = sorted(
            (order.price for order in self.orders if order.side is side and order.price is not None),
            reverse=side is Side.BUY,
        )
        return "  ".join(f"{price:f}" for price in prices) or "-"

    def traded(self, side: Side) -> Decimal:
        """Return the quantity bought or sold so far, base units."""
        return sum((fill.quantity for fill in self.fills if fill.side is side), Decimal(0))


class DemoWatch:
    """Reads one instance; asks the exchange with the instance's own account."""

    def __init__(self, context: Context, instance_id: str, config_dir: Path) -> None:
        self._context = context
        self._instance_id = instance_id
        self._config = load_instance(instance_id, config_dir, context.settings.environ).config
        self._symbol = self._config.metadata.symbol
        self._started_s = time.monotonic()
        self._started_ms: int | None = None

    def read(self) -> DemoState:
        """Return how things stand now."""
        record = self._context.instances.read(self._instance_id)
        best_bid = best_ask = None
        orders: tuple[OpenOrder, ...] | None = None
        fills: tuple[Fill, ...] = ()
        problem = record.last_error if record else ""
        try:
            exchange = self._context.venues.of(self._config)
            if self._started_ms is None:
                self._started_ms = exchange.server_time_ms()
            book = exchange.order_book(self._symbol)
            best_bid = book.bids[0].price if book.bids else None
            best_ask = book.asks[0].price if book.asks else None
            orders = exchange.open_orders(self._symbol)
            fills = exchange.fills(self._symbol, since_ms=self._started_ms)
        except ExchangeError as error:
            problem = str(error)
        return DemoState(
            instance_id=self._instance_id,
            symbol=self._symbol,
            running_s=time.monotonic() - self._started_s,
            phase=str(record.phase) if record else "?",
            epoch=record.epoch if record else 0,
            iterations=record.seq if record else 0,
            best_bid=best_bid,
            best_ask=best_ask,
            orders=orders,
            fills=fills,
            problem=problem,
        )


def table(state: DemoState, left_s: float) -> Table:
    """Return the live table for a terminal."""
    left = tr("{time} s left", time=f"{left_s:.0f}")
    shown = Table(title=f"{state.instance_id} · {state.symbol} · {left}", title_justify="left")
    shown.add_column("")
    shown.add_column(tr("now"), min_width=40)
    phase = tr(
        "{phase} (run {epoch}, {count} iterations)",
        phase=tr(state.phase),
        epoch=state.epoch,
        count=state.iterations,
    )
    shown.add_row(tr("phase"), phase)
    shown.add_row(tr("market"), f"{_price(state.best_bid)} / {_price(state.best_ask)}")
    shown.add_row(tr("our asks"), state.prices(Side.SELL))
    shown.add_row(tr("our bids"), state.prices(Side.BUY))
    shown.add_row(tr("fills"), _fills(state))
    if state.problem:
        shown.add_row(tr("problem"), state.problem)
    return shown


def _fills(state: DemoState) -> str:
    traded = tr(
        "bought {bought}, sold {sold}",
        bought=f"{state.traded(Side.BUY):f}",
        sold=f"{state.traded(Side.SELL):f}",
    )
    return f"{len(state.fills)}: {traded}"


def line(state: DemoState) -> str:
    """Return the same in one line, for logs and pipes."""
    count = "?" if state.orders is None else str(len(state.orders))
    text = tr(
        "{time} s  {phase}  {iterations} iterations  market {bid} / {ask}  orders {count}  fills {fills}",
        time=f"{state.running_s:5.1f}",
        phase=tr(state.phase),
        iterations=state.iterations,
        bid=_price(state.best_bid),
        ask=_price(state.best_ask),
        count=count,
        fills=_fills(state),
    )
    return f"{text}  {tr('problem: {text}', text=state.problem)}" if state.problem else text


def _price(price: Decimal | None) -> str:
    return "?" if price is None else f"{price:f}"

"""The baseline of `side_by_side.py`: one instance as a process of its own, around the same strategy code.

    python bench/loop_bot.py INSTANCE SLOT

It gathers, decides, limits, reconciles and sends with the product's own functions and adapter, and keeps in
memory what the product keeps in its state server: it has no leases, no fence, no feed and no ledger. Between
two iterations it sleeps in slices of a second, and looks between them whether SIGTERM came; then it cancels
its orders, reads lists until two in a row show none, and ends. Nobody else knows of its orders.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import structlog  # noqa: E402 - the checkout is put on the path first

from exchanges.budget import UnlimitedBudget  # noqa: E402
from exchanges.clock import StoreClockReading  # noqa: E402
from exchanges.registry import VenueSettings, open_exchange  # noqa: E402
from market.orders import Role  # noqa: E402
from runner.access import access  # noqa: E402
from runner.books import Books  # noqa: E402
from runner.config import load_instance  # noqa: E402
from runner.execution import ExecutionReport, Executor, cancel_orders  # noqa: E402
from runner.gathering import gather  # noqa: E402
from runner.limiting import limited_plan  # noqa: E402
from runner.loaded import from_config  # noqa: E402
from runner.lookups import Standing  # noqa: E402
from settings import load  # noqa: E402
from state.client_ids import GENERATIONS, ClientOrderId, owns  # noqa: E402
from state.permissions import Granted  # noqa: E402

SLICE_S = 1.0


class Bot:
    """One instance, its memory and its connection."""

    def __init__(self, instance_id: str, slot: int) -> None:
        settings = load()
        self._instance = from_config(load_instance(instance_id, settings.config_dir, settings.environ).config)
        config = self._instance.config
        found = access(config, settings)
        self._venue = open_exchange(
            config.metadata.exchange,
            VenueSettings(base_url=found.base_url),
            found.credentials,
            UnlimitedBudget(),
        )
        self._symbol = config.metadata.symbol
        self._slot = slot
        self._instrument = self._venue.instrument(self._symbol)
        self._books = Books()
        self._intents: dict[int, int] = {}
        self._state = self._instance.strategy.state()
        self._started_at_ms = _now_ms()
        self._generation = 0
        #: What `gather` asks of the product's context; without a feed there is nothing to be had from it.
        self._context: Any = SimpleNamespace(
            venues=SimpleNamespace(instrument=lambda _: self._instrument),
            own_fills=SimpleNamespace(seen=lambda *_, **__: ()),
            market_data=SimpleNamespace(read=lambda *_: None),
        )
        self.ended = threading.Event()

    def run(self) -> None:
        """Trade until `ended`, then clean up."""
        slices = max(1, round(self._instance.interval_ms / 1000 / SLICE_S))
        while not self.ended.is_set():
            self._iterate()
            for _ in range(slices):
                if self.ended.is_set():
                    break
                time.sleep(SLICE_S)
        self._clean_up()

    def _iterate(self) -> None:
        instance, books = self._instance, self._books
        reading = StoreClockReading(store_ms=_now_ms(), monotonic_s=time.monotonic())
        standing = Standing(
            slot=self._slot,
            books=books,
            intents=self._intents,
            now_ms=reading.store_ms,
            started_at_ms=self._started_at_ms,
            fence_ms=0,
            reading=reading,
        )
        gathered = gather(self._context, instance, self._venue, standing, with_balances=False)
        decision = instance.strategy.decide(gathered.snapshot, cast("Any", self._state), instance.params)
        limited = limited_plan(instance, gathered.snapshot, decision, books.placed_at_ms)
        report = ExecutionReport()
        Executor(
            self._venue,
            symbol=self._symbol,
            window_ms=instance.window_ms,
            authorize=self._grant,
            signing_time_ms=lambda at_ms: self._venue.clock.signing_time_ms(at_ms, reading),
            report=report,
        ).carry_out(limited.plan, limited.taker)
        self._state = decision.state
        for order in report.accepted:
            books.add(order)
        for order_id, executed in report.executed_when_cancelled.items():
            books.end(order_id, executed)
        books.forget_unseen()
        books.close_what_is_over(reading.store_ms)
        self._intents |= report.unresolved

    def _grant(self, orders: Sequence[tuple[int, Role]]) -> Granted:
        ids = []
        for level, role in orders:
            self._generation = (self._generation + 1) % GENERATIONS
            ids.append(
                ClientOrderId(slot=self._slot, level=level, role=role, generation=self._generation).encode()
            )
        return Granted(at_ms=_now_ms(), client_order_ids=tuple(ids))

    def _clean_up(self) -> None:
        cancel_orders(
            self._venue, self._symbol, [o.order_id for o in self._books.orders.values() if not o.ended]
        )
        empty_in_a_row = 0
        while empty_in_a_row < 2:
            listed = self._venue.open_orders(self._symbol)
            own = [order.order_id for order in listed if owns(self._slot, order.client_order_id)]
            cancel_orders(self._venue, self._symbol, own)
            empty_in_a_row = 0 if own else empty_in_a_row + 1


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def main() -> int:
    """Run until SIGTERM."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    bot = Bot(sys.argv[1], int(sys.argv[2]))

    def end(*_: object) -> None:
        bot.ended.set()

    signal.signal(signal.SIGTERM, end)
    bot.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())

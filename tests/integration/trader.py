"""A run of a strategy that a test decides for, on the fake exchange and the real state server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from market.orders import Quote, Side
from market.snapshot import Snapshot
from runner.books import Books
from runner.loaded import parse_books
from strategies.base import Decision, State, TakerOrder
from tests.factories import INSTANCE_ID, SLOT, loaded_instance, quote
from tests.integration.cleanup_bench import SETTINGS
from tests.integration.runner_bench import RunnerBench

BID = quote(Side.BUY, "99", level=3)
ASK = quote(Side.SELL, "101", level=4)
WINDOW_MS = 1


class Killed(BaseException):
    """Stands for a process that dies."""


class Trader:
    """A run of a strategy that a test decides for, with what it was shown."""

    def __init__(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch
        self.quotes: tuple[Quote, ...] = (BID, ASK)
        self.seen: list[Snapshot] = []
        self.stop_reason: str | None = None
        self.unwinding: Callable[[Snapshot], TakerOrder | None] = lambda _: None
        instance = replace(loaded_instance(decide=self._decide, window_ms=WINDOW_MS), interval_ms=1)
        strategy = replace(
            instance.strategy, fixed_levels=True, unwind=lambda snapshot, *_: self.unwinding(snapshot)
        )
        settings = replace(SETTINGS, fence_margin_ms=0)
        self.bench = RunnerBench(url, monkeypatch, replace(instance, strategy=strategy), settings)
        self.venue = self.bench.venue

    def _decide(self, snapshot: Snapshot, state: State) -> Decision[State]:
        self.seen.append(snapshot)
        return Decision(quotes=self.quotes, state=state, stop_reason=self.stop_reason, unwind=True)

    def run(self) -> Snapshot | None:
        """Run one iteration and return what it was shown."""
        self.seen.clear()
        self.bench.run(None)
        return self.seen[-1] if self.seen else None

    def run_and_die_before_the_commit(self) -> None:
        """Run one iteration that ends as if its process had been killed, and let its lease be over."""

        def die(*_: object, **__: object) -> None:
            raise Killed

        with self.monkeypatch.context() as patch:
            patch.setattr(self.bench.context.leases, "commit", die)
            with pytest.raises(Killed):
                self.bench.run(None)
        self.bench.set_field("lease_until", 0)

    def wait_for_the_fence(self, *, behind_ms: int = 1) -> None:
        """Let whatever is under way expire, so long ago."""
        self.bench.set_field("fence", self.bench.context.instances.now_ms() - behind_ms)

    @property
    def books(self) -> Books:
        """Return the books as saved."""
        return parse_books(self.bench.field("books") or "")

    @property
    def intents(self) -> dict[int, int]:
        """Return the orders whose fate is not known."""
        return dict(self.bench.context.instances.run_data(INSTANCE_ID, SLOT).intents)

    def resting(self, side: Side) -> list[str]:
        """Return what rests of a side."""
        return [order.order_id for order in self.venue.resting.values() if order.side is side]


def hide_histories(trader: Trader) -> Callable[[], None]:
    """Let no history show anything; return what ends that."""
    trader.venue.always |= {"fills": lambda _: (), "resolve_placement": lambda *_: None}

    def show() -> None:
        del trader.venue.always["fills"], trader.venue.always["resolve_placement"]

    return show


def selling(quantity: str) -> TakerOrder:
    """Return an order that brings a long position down."""
    return TakerOrder(
        side=Side.SELL, quantity=Decimal(quantity), limit_price=Decimal("99.5"), reason="unwind"
    )


def close_what_is_long(snapshot: Snapshot) -> TakerOrder | None:
    """Unwind a long position."""
    return selling(str(snapshot.profit.net)) if snapshot.profit.net > 0 else None

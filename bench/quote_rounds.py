"""One market maker on the simulated exchange: move its market, and see when its quotes have followed."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from decimal import Decimal

from bench.journal_tail import Entry, tail_of
from bench.reaction_stack import Running
from exchanges.base import Authorization
from market.orders import NewOrder, OrderType, Side
from runner.access import market_venue
from runner.config import load_instance
from runner.execution import cancel_orders
from runner.parallel import both
from settings import environment
from state import keys
from state.client_ids import owns

INSTANCE, SYMBOL, QUANTITY = "bp_sol_01", "SOL_USDC", "0.5"
MOVE_BPS = 10
#: Behind the last iteration: `wake_spacing` is over, and the chain idle.
IDLE_S = 0.3
DEADLINE_S = 10.0


class NoQuotes(RuntimeError):
    """Raised when a round does not go as it has to; the figures would mean nothing."""


@dataclass(frozen=True, kw_only=True)
class Round:
    """One move of the market and the new quotes, ms since the bench asked for the move."""

    #: The feed's book that shows it is in the state server; whole ms.
    kept_ms: float
    #: An iteration has the lease; whole ms.
    claimed_ms: float
    #: Both new quotes are accepted.
    whole_ms: float
    floor_ms: float


@dataclass(kw_only=True)
class Rounds:
    """One instance that quotes, on a market in our hands."""

    running: Running
    mid: Decimal = Decimal(150)
    resting: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.config = load_instance(INSTANCE, self.running.stack.options.config_dir, environment()).config
        self.venue = self.running.context.venues.of(self.config)

    def wait_for_feed(self) -> None:
        """Wait until the feed has the book. Raises `NoQuotes`."""
        # It hears of a new instance by its start, and of its market a moment later.
        deadline_s = time.monotonic() + DEADLINE_S
        while not self.running.context.market_data.read(market_venue(self.config), SYMBOL):
            if time.monotonic() > deadline_s:
                raise NoQuotes(f"the feed has no book: {self.running.context.client.hgetall(keys.FEEDS)}")
            time.sleep(0.05)

    def settle(self) -> None:
        """Wait until both quotes rest and the chain is idle. Raises `NoQuotes`."""
        deadline_s = time.monotonic() + DEADLINE_S
        idle_since_s, seq = time.monotonic(), -1
        while time.monotonic() < deadline_s:
            self._follow(self.running.tail.more())
            record = self.running.context.instances.read(INSTANCE)
            assert record is not None  # it was started
            if record.errors:
                raise NoQuotes(f"an iteration failed: {record.last_error}")
            if record.lease_until_ms or record.seq != seq:
                idle_since_s, seq = time.monotonic(), record.seq
            if len(self.resting) == 2 and time.monotonic() - idle_since_s >= IDLE_S:
                return
            time.sleep(0.01)
        raise NoQuotes(f"{len(self.resting)} quotes rest after {DEADLINE_S:g} s")

    def play(self, number: int, *, pause_s: float, floor_ms: float) -> Round:
        """Move the market, `pause_s` after the chain is idle, and return how the quotes followed.

        Raises `NoQuotes`.
        """
        self.settle()
        time.sleep(pause_s)
        self._follow(self.running.tail.more())
        before, old = self.mid, set(self.resting)
        self.mid = Decimal(150) if before != 150 else Decimal(150) * (10_000 + 2 * MOVE_BPS) / 10_000
        asked_us = time.time_ns() // 1000
        answer = self.running.http.post(
            f"{self.running.stack.simulator_url}/sim/market",
            json={"symbol": SYMBOL, "price": str(self.mid)},
            timeout=5,
        )
        answer.raise_for_status()
        entries: list[Entry] = []
        deadline_s = time.monotonic() + DEADLINE_S
        while len(self.resting - old) < 2:
            if time.monotonic() > deadline_s:
                raise NoQuotes(f"round {number}: not both quotes; journal: {tail_of(entries, 30)}")
            new = self.running.tail.more()
            entries += new
            self._follow(new)
            time.sleep(0.001)
        accepted_us = [int(e["at_us"]) for e in entries if self._is_own(e) and e["event"] == "order_accepted"]
        return Round(
            kept_ms=self._kept_at_ms() - asked_us / 1000,
            claimed_ms=self._claimed_at_ms(asked_us) - asked_us / 1000,
            whole_ms=(max(accepted_us) - asked_us) / 1000,
            floor_ms=floor_ms,
        )

    def _follow(self, entries: list[Entry]) -> None:
        for entry in entries:
            if not self._is_own(entry):
                continue
            if entry["event"] == "order_accepted":
                self.resting.add(entry["order_id"])
            elif entry["event"] in {"order_cancelled", "order_expired", "fill"}:
                self.resting.discard(entry["order_id"])

    def _is_own(self, entry: Entry) -> bool:
        return owns(self.running.slot, entry.get("client_id"))

    def _kept_at_ms(self) -> int:
        """Return when the newest book came to the state server, whose clock is the exchange's here."""
        found = self.running.context.market_data.read(market_venue(self.config), SYMBOL)
        return 0 if found is None else found.received_at_ms

    def _claimed_at_ms(self, since_us: int) -> int:
        claims = [t for t in self.running.context.events.trace(INSTANCE) if t["event"] == "claimed"]
        # With a short interval one that had begun before may have met the move: then it is the last one.
        after = (int(t["at_ms"]) for t in claims if int(t["at_ms"]) >= since_us // 1000)
        return next(after, int(claims[-1]["at_ms"]))

    def floor(self) -> float:
        """Return how long the requests of an iteration that moves both quotes take alone, ms."""
        ids = self._place(first_id=1)
        began_s = time.perf_counter()
        self.venue.open_orders(SYMBOL)
        since_ms = self.venue.clock.now_ms() - 60_000
        both(lambda: self.venue.fills(SYMBOL, since_ms=since_ms), self.venue.balances)
        cancel_orders(self.venue, SYMBOL, ids)
        placed = self._place(first_id=3)
        took_ms = (time.perf_counter() - began_s) * 1000
        cancel_orders(self.venue, SYMBOL, placed)
        return took_ms

    def _place(self, *, first_id: int) -> list[str]:
        """Place two quotes in nobody's slot, far from the market, and return their ids."""
        orders = [
            NewOrder(
                client_order_id=first_id + number,
                symbol=SYMBOL,
                side=side,
                order_type=OrderType.LIMIT,
                quantity=Decimal(QUANTITY),
                price=price,
                post_only=True,
            )
            for number, (side, price) in enumerate(((Side.BUY, Decimal(140)), (Side.SELL, Decimal(160))))
        ]
        authorization = Authorization(signed_at_ms=self.venue.clock.now_ms(), window_ms=5000)
        placed = self.venue.place(orders, authorization)
        ids = [result.order.order_id for result in placed if result.order is not None]
        if len(ids) != len(orders):
            raise NoQuotes(f"the floor's orders were not accepted: {placed}")
        return ids

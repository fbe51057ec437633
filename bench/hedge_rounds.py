"""One instance that hedges, on the simulated exchange: let a quote be taken, and see when the hedge comes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from decimal import Decimal
from typing import cast

from bench.hedge_report import Round
from bench.journal_tail import Entry, is_own, reaction, tail_of
from bench.reaction_stack import Running
from bench.witness import Witness
from exchanges.base import Authorization
from market.orders import NewOrder, OrderType, Role, Side, TimeInForce
from runner.config import load_instance
from settings import environment
from state import keys
from state.client_ids import owns
from state.record import Record

INSTANCE = "bp_sol_hedge"
SYMBOL = "SOL_USDC_PERP"
ACCOUNT = "demo"
QUANTITY = "0.5"
DEADLINE_S = 10.0
#: No iteration for so long: the chain is idle.
IDLE_S = 0.08
#: A fill comes at no fixed moment of the feed's loop, s after the chain is idle.
PAUSES_S = (0.0, 0.013, 0.029, 0.047, 0.071)
#: Without a feed: so long before the next iteration, as a part of the interval.
PARTS = (0.9, 0.5, 0.1, 0.7, 0.3)


class NoHedge(RuntimeError):
    """Raised when a round does not go as it has to; the figures would mean nothing."""


@dataclass(kw_only=True)
class Rounds:
    """Plays rounds, one after the other. Every method raises `NoHedge` when it does not go as it has to."""

    running: Running
    with_feed: bool
    interval_s: float
    witness: Witness = field(default_factory=lambda: Witness(base_asset="SOL"))
    seen: list[Entry] = field(default_factory=list)

    def record(self) -> Record:
        """Return how the instance stands."""
        record = self.running.context.instances.read(INSTANCE)
        assert record is not None  # it was started
        return record

    def follow(self, entries: list[Entry]) -> None:
        """Take in what the journal says."""
        self.seen = [*self.seen, *entries][-50:]
        for entry in entries:
            if owns(self.running.slot, entry.get("client_id")):
                self.witness.see(entry)

    def wait_for_quotes(self) -> dict[Side, Decimal]:
        """Wait until both quotes rest and the chain is idle; return their prices."""
        deadline_s = time.monotonic() + DEADLINE_S
        idle_since_s, seq = time.monotonic(), -1
        while time.monotonic() < deadline_s:
            self.follow(self.running.tail.more())
            record, now_s = self.record(), time.monotonic()
            if record.lease_until_ms or record.seq != seq:
                idle_since_s, seq = now_s, record.seq
            if record.errors:
                raise NoHedge(f"an iteration failed: {record.last_error}")
            resting = {e.side: e.price for e in self.witness.lines if e.ended_at_ms is None}
            if len(resting) == 2 and self.witness.resting == 2 and now_s - idle_since_s >= IDLE_S:
                return resting
            time.sleep(0.01)
        record = self.record()
        raise NoHedge(
            f"not both quotes within {DEADLINE_S:g} s: {self.witness.resting} orders rest; instance "
            f"{record.phase} {record.stop_reason} {record.last_error}; journal: {tail_of(self.seen)}"
        )

    def pause(self, number: int) -> None:
        """Wait for the moment of the fill."""
        if self.with_feed:
            time.sleep(PAUSES_S[number % len(PAUSES_S)])
            return
        ahead_ms = PARTS[number % len(PARTS)] * self.interval_s * 1000
        wait_ms = (self.record().due_at_ms or 0) - self.running.context.instances.now_ms() - ahead_ms
        time.sleep((wait_ms if wait_ms >= 0 else wait_ms + self.interval_s * 1000) / 1000)

    def play(self, number: int) -> Round:
        """Let others take one quote and return how the hedge came."""
        side = Side.BUY if number % 2 else Side.SELL
        price = self.wait_for_quotes()[side]
        self.pause(number)
        self.follow(self.running.tail.more())
        # Through the price, so that nobody else's quantity there comes first.
        through = price - Decimal("0.01") if side is Side.BUY else price + Decimal("0.01")
        answer = self.running.http.post(
            f"{self.running.stack.simulator_url}/sim/trade",
            json={
                "symbol": SYMBOL,
                "side": "Ask" if side is Side.BUY else "Bid",
                "price": str(through),
                "quantity": QUANTITY,
            },
            timeout=5,
        )
        answer.raise_for_status()
        slot = self.running.slot
        entries = self.running.tail.until(
            lambda seen: any(is_own(e, "order_accepted", slot=slot, role=Role.HEDGE) for e in seen),
            DEADLINE_S,
        )
        self.follow(entries)
        found = reaction(entries, slot=slot, account=ACCOUNT)
        if found is None:
            record = self.record()
            raise NoHedge(
                f"round {number}: no hedge within {DEADLINE_S:g} s; instance {record.phase} "
                f"{record.stop_reason} {record.last_error}; journal since the fill: {tail_of(entries, 30)}"
            )
        filled_ms = found.filled_us / 1000
        return Round(
            whole_ms=(found.accepted_us - found.filled_us) / 1000,
            told_ms=self._told_at_ms(found.filled_us) - filled_ms if self.with_feed else None,
            claimed_ms=self._claimed_at_ms(found.filled_us) - filled_ms,
            read_ms=(found.last_read_us - found.filled_us) / 1000,
            requests=found.requests,
        )

    def _told_at_ms(self, filled_us: int) -> int:
        """Return when the feed had told the fill; the state server's clock is the exchange's here."""
        told = self.running.context.client.xrange(keys.own_fills(INSTANCE), min=filled_us // 1000, count=1)
        if not told:
            raise NoHedge("the hedge came, and the feed has not told of the fill")
        return int(cast("list[tuple[str, dict[str, str]]]", told)[0][0].partition("-")[0])

    def _claimed_at_ms(self, filled_us: int) -> int:
        """Return when the first iteration behind the fill began."""
        claims = [t for t in self.running.context.events.trace(INSTANCE) if t["event"] == "claimed"]
        return next(int(t["at_ms"]) for t in claims if int(t["at_ms"]) >= filled_us // 1000)

    def floor(self) -> float:
        """Return how long the requests of a hedging iteration take alone, ms, on an idle chain."""
        self.wait_for_quotes()
        config = load_instance(INSTANCE, self.running.stack.options.config_dir, environment()).config
        venues = self.running.context.venues
        venue, instrument = venues.of(config), venues.instrument(config)
        book = venue.order_book(SYMBOL)
        assert book.best_bid is not None
        order = NewOrder(
            # Nobody's slot, and a price at which nobody sells: it ends at once, and nobody is woken.
            client_order_id=1,
            symbol=SYMBOL,
            side=Side.BUY,
            order_type=OrderType.LIMIT,
            quantity=instrument.min_quantity,
            price=instrument.round_price(book.best_bid * 99 / 100, Side.BUY),
            time_in_force=TimeInForce.IOC,
        )
        since_ms = venue.clock.now_ms() - 60_000
        began_s = time.perf_counter()
        venue.open_orders(SYMBOL)
        venue.fills(SYMBOL, since_ms=since_ms)
        venue.position(SYMBOL)
        (placed,) = venue.place([order], Authorization(signed_at_ms=venue.clock.now_ms(), window_ms=5000))
        took_ms = (time.perf_counter() - began_s) * 1000
        if placed.error is not None:
            raise NoHedge(f"the floor's order was not accepted: {placed}")
        return took_ms

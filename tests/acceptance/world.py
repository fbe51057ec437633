"""A running stack with the few things a test does to it: configure, start, stop, look."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from cli.stack.stack import Stack
from exchanges.errors import RateLimited
from feed.bookkeeper import catch_up
from ledger.database import Ledger, open_ledger
from runner.context import Context
from runner.lifecycle import start_instance
from runner.receipt import Receipt
from runner.receipt_reading import read_receipt
from state.bookings import BookingQueue
from state.events import Event
from state.instances import StartResult, StopResult
from state.record import Phase, Record
from state.stop_policy import StopPolicy
from tests.acceptance.simulated_exchange import SimulatedExchange

T = TypeVar("T")

#: Generous: a deadline only decides how long a broken program is waited for.
DEADLINE_S = 60.0
POLL_S = 0.02
#: The shortest that a configuration may ask for: a request expires this long after it was authorised.
WINDOW_MS = 1000


def eventually(
    condition: Callable[[], T | None],
    deadline_s: float = DEADLINE_S,
    *,
    what: str | Callable[[], str] = "the condition",
) -> T:
    """Return the first true value of `condition`, or fail after `deadline_s`.

    `what` says what was waited for; as a function, how that stood at the end.
    """
    started_s = time.monotonic()
    while True:
        found = condition()
        if found:
            return found
        waited_s = time.monotonic() - started_s
        if waited_s >= deadline_s:
            told = what if isinstance(what, str) else what()
            raise AssertionError(f"{told} did not come true within {deadline_s:g} s")
        time.sleep(POLL_S)


def holds_for(condition: Callable[[], bool], duration_s: float, *, what: str) -> None:
    """Fail when `condition` is false now or turns false within `duration_s`."""
    end_s = time.monotonic() + duration_s
    while True:
        assert condition(), f"{what} did not last"
        if time.monotonic() >= end_s:
            return
        time.sleep(POLL_S)


def tell(figure: str) -> None:
    """Show a measured figure to whoever runs the tests with ``-s``."""
    sys.stderr.write(f"  {figure}\n")


@dataclass(kw_only=True)
class World:
    """One test's view of the stack; everything it started is stopped at its end."""

    stack: Stack
    context: Context
    exchange: SimulatedExchange
    config_dir: Path
    started: list[str] = field(default_factory=list)

    def configure(
        self,
        instance_id: str,
        *,
        exchange: Mapping[str, Any] | None = None,
        top: Mapping[str, Any] | None = None,
        **strategy: Any,
    ) -> str:
        """Write the file of an instance and return its id: three bids and three asks twice a second."""
        content = {
            "metadata": {
                "instance_id": instance_id,
                "exchange": "backpack",
                "symbol": "SOL_USDC",
                "market_type": "spot",
                "strategy": "standard",
            },
            "exchange_config": {"default_window": WINDOW_MS, **(exchange or {})},
            "strategy_config": {
                "spread": "1",
                "quantity": "0.1",
                "max_orders": 3,
                "layer_spacing": "bps",
                "layer_step_bps": 20,
                "enable_rebalance": False,
                "interval": "0.5",
                **strategy,
            },
            **(top or {}),
        }
        (self.config_dir / f"{instance_id}.json").write_text(json.dumps(content))
        return instance_id

    def start(self, instance_id: str) -> int:
        """Start a configured instance; return the epoch of the run."""
        result = self.try_start(instance_id)
        assert result.started, f"{instance_id} was not started: {result}"
        return result.epoch

    def try_start(self, instance_id: str) -> StartResult:
        """Ask for a start and return what came of it; wait where the account's request budget is used up."""
        self.started.append(instance_id)

        def result() -> StartResult | None:
            try:
                return start_instance(self.context, instance_id, by="test").result
            except RateLimited as error:
                # Trying again at once would use up what has to grow: a start makes several requests.
                time.sleep(max(1.0, error.retry_after_s))
                return None

        return eventually(result, what=f"the start of {instance_id}")

    def run(self, instance_id: str, **strategy: Any) -> str:
        """Configure and start an instance, and wait until its orders rest."""
        self.configure(instance_id, **strategy)
        self.start(instance_id)
        self.wait_for_orders(instance_id)
        return instance_id

    def wait_for_orders(self, instance_id: str, count: int = 6) -> None:
        """Return once an instance has `count` orders on the book."""
        slot = self.slot(instance_id)
        eventually(
            lambda: len(self.exchange.open_order_ids(slot=slot)) >= count,
            what=lambda: f"{count} orders of {instance_id} on the book: {self.record(instance_id)}",
        )

    def record(self, instance_id: str) -> Record:
        """Return how an instance stands."""
        record = self.context.instances.read(instance_id)
        assert record is not None, f"{instance_id} was never started"
        return record

    def slot(self, instance_id: str) -> int:
        """Return the slot in the client order ids of an instance."""
        return self.record(instance_id).slot

    def request_stop(self, instance_id: str) -> StopResult:
        """Close the gate and return."""
        return self.context.instances.request_stop(instance_id, by="test", reason="test", policy=StopPolicy())

    def wait_stopped(self, instance_id: str, deadline_s: float = DEADLINE_S) -> Receipt:
        """Return the outcome of the stop under way."""

        def outcome() -> Receipt | None:
            record = self.record(instance_id)
            return read_receipt(record.outcome) if record.phase is Phase.STOPPED else None

        return eventually(
            outcome, deadline_s, what=lambda: f"{instance_id} stopped: {self.record(instance_id)}"
        )

    def stop(self, instance_id: str, deadline_s: float = DEADLINE_S) -> Receipt:
        """Stop an instance and return the outcome."""
        self.request_stop(instance_id)
        return self.wait_stopped(instance_id, deadline_s)

    def wait_for_request(self, endpoint: str, count: int = 1) -> None:
        """Return once so many requests have met the fault that is set for `endpoint`."""
        eventually(lambda: self.exchange.hits(endpoint) >= count, what=f"request {count} {endpoint}")

    def wait_for_event(self, instance_id: str, event: str, *, step: str = "") -> Event:
        """Return the first lifecycle event of its kind."""

        def found() -> Event | None:
            for candidate in self.context.events.of_instance(instance_id):
                if candidate.event == event and candidate.fields.get("step", "") == step:
                    return candidate
            return None

        return eventually(found, what=f"{event} {step} of {instance_id}")

    def commits(self, instance_id: str) -> list[int]:
        """Return when iterations of an instance ended well (state server's time, ms)."""
        trace = self.context.events.trace(instance_id)
        return [int(entry["at_ms"]) for entry in trace if entry["event"] == "committed"]

    def wait_for_commit_after(self, instance_id: str, at_ms: int, deadline_s: float) -> int:
        """Return how many ms after `at_ms` the next iteration had been committed."""
        first = eventually(
            lambda: next((commit for commit in self.commits(instance_id) if commit > at_ms), None),
            deadline_s,
            what=f"an iteration of {instance_id} after the crash",
        )
        return first - at_ms

    def serving_queues(self) -> set[str]:
        """Return the queues that have a living worker."""
        workers = self.context.events.workers(now_ms=self.context.instances.now_ms(), within_ms=2_500)
        return {queue for worker in workers for queue in worker.queues}

    @contextmanager
    def deaf(self) -> Iterator[None]:
        """Let the feed hear nothing and tell nothing for a while, as if there were none."""
        feed = self.stack.processes["feed"]
        feed.send(signal.SIGSTOP)
        try:
            yield
        finally:
            feed.send(signal.SIGCONT)

    def wait_for_stream(self, symbol: str) -> None:
        """Return once the feed listens to the account and to a symbol."""

        def listens() -> bool:
            names = {name for each in self.exchange.streams() for name in each["streams"]}
            return {"account.orderUpdate", f"depth.{symbol}"} <= names

        eventually(listens, what=f"a stream of {symbol}")

    def ledger(self) -> Ledger:
        """Open the stack's ledger with everything in it that waited."""
        ledger = open_ledger(self.stack.ledger_url)
        catch_up(BookingQueue(self.context.client), self.context.events, ledger)
        return ledger

    def close(self) -> None:
        """Leave nothing for the next test: no fault, no running instance."""
        self.exchange.clear_faults()
        self.exchange.clear_stream_faults()
        ran = [name for name in dict.fromkeys(self.started) if self.context.instances.read(name)]
        for instance_id in ran:
            self.request_stop(instance_id)
        for instance_id in ran:
            self.wait_stopped(instance_id, 40)


def crash_server(world: World, *, down_s: float) -> int:
    """Kill the state server, start it again on the same port; return when it was started, ms."""
    server = world.stack.server
    assert server is not None
    # Otherwise the supervisor would start it at once.
    server.process.release()
    server.kill()
    time.sleep(down_s)
    started_at_ms = time.time_ns() // 1_000_000
    server.start()
    server.wait_ready()
    return started_at_ms


def assert_one_chain(trace: tuple[Mapping[str, str], ...], *, lease_ms: int) -> None:
    """Check that no two iterations overlapped, and that ticks came one after the other.

    An iteration that died with its worker leaves a claim without a commit; the next may begin when its
    lease is over, and not before.
    """
    open_claim: Mapping[str, str] | None = None
    next_tick: dict[str, int] = {}
    for entry in trace:
        epoch, tick, at_ms = entry["epoch"], int(entry["tick"]), int(entry["at_ms"])
        if entry["event"] == "claimed":
            if open_claim is not None and open_claim["epoch"] == epoch:
                assert at_ms >= int(open_claim["at_ms"]) + lease_ms, f"{open_claim} overlaps {entry}"
            assert tick == next_tick.get(epoch, tick), f"expected tick {next_tick.get(epoch)}: {entry}"
            open_claim = entry
            continue
        assert open_claim is not None, f"{entry} commits what nobody claimed"
        assert open_claim["token"] == entry["token"], f"{entry} commits under another lease: {open_claim}"
        # A wake-up leaves the schedule alone, unless it fails: then the next try stands in its place.
        is_next = open_claim["kind"] == "tick" or entry["failed"] == "1"
        next_tick[epoch] = tick + 1 if is_next else tick
        open_claim = None

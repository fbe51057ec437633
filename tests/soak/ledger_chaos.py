"""Fills, as many as wanted, while everything between the exchange and the ledger fails."""

from __future__ import annotations

import platform
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from exchanges.errors import ExchangeError
from runner.lifecycle import start_instance, stop_policy
from state.bookings import BookingQueue
from state.feeds import Feeds
from state.record import Phase
from tests.acceptance.world import eventually
from tests.soak.checks import MIN_QUANTITY
from tests.soak.fleet import Fleet, Member
from tests.soak.ledger_databases import Database
from tests.soak.ledger_exchange import ChaosExchange
from tests.soak.ledger_faults import REQUEST_FAULTS, STREAM_FAULTS, STREAM_SHOCKS

#: Between two rounds of trades.
PAUSE_S = 0.03
#: Fills that one round makes at most.
BURST = 12
#: How often streams fail in the rarer ways, at least.
SHOCKS = 4
#: A run that is this many times slower than planned is broken.
PATIENCE = 12
FUNDING_RATES = ("0.0004", "-0.0007", "0.00013")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much of everything."""

    fills: int
    #: At least.
    duration_s: float
    feed_kills: int = 5
    outages: int = 2
    disconnects: int = 4
    fundings: int = 3
    #: Runs that are stopped and started again.
    restarts: int = 2


@dataclass(kw_only=True)
class Chaos:
    """One run of it."""

    fleet: Fleet
    exchange: ChaosExchange
    database: Database
    plan: Plan
    dice: random.Random
    fills: int = 0
    kills: int = 0
    outages: int = 0
    payments: int = 0
    restarts: int = 0
    cut: int = 0
    longest_queue: int = 0
    #: By slot: when each run began (state server's time, ms), and its epoch.
    epochs: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    _read_until: int = 0
    _back_at_s: float | None = None
    _noticed_before: int = 0

    def run(self) -> None:
        """Trade until there are enough fills and everything has gone wrong as often as planned."""
        for member in self.fleet.members:
            self._note_run(member)
        self.exchange.set_stream_faults(*map(dict, STREAM_FAULTS))
        due = self._schedule()
        begun_s = time.monotonic()
        while due or self.fills < self.plan.fills or self._back_at_s is not None:
            elapsed_s = time.monotonic() - begun_s
            assert elapsed_s < PATIENCE * self.plan.duration_s, f"only {self.fills} fills, left: {due}"
            while due and due[0][0] <= elapsed_s and due[0][1]():
                due.pop(0)
            self._bring_back_in_time()
            self._trade(elapsed_s)
            time.sleep(PAUSE_S)

    def _schedule(self) -> list[tuple[float, Callable[[], bool]]]:
        """Return when what goes wrong; an action that answers False is tried again."""
        plan = self.plan
        faults = [self._fault_setter(number) for number in range(len(REQUEST_FAULTS))]
        found = [
            *self._spread([self._kill_feed] * plan.feed_kills),
            *self._spread([self._disconnect] * plan.disconnects),
            *self._spread([self._shock_streams] * SHOCKS),
            *self._spread([self._pay_funding] * plan.fundings),
            *self._spread([self._restart] * plan.restarts),
            *self._spread(faults),
            # Early in its part, so that it is over before the next begins.
            *self._spread([self._take_database_away] * plan.outages, latest=0.3),
        ]
        return sorted(found, key=lambda item: item[0])

    def _spread(
        self, actions: list[Callable[[], bool]], latest: float = 1.0
    ) -> Iterable[tuple[float, Callable[[], bool]]]:
        part_s = self.plan.duration_s / max(1, len(actions))
        for number, action in enumerate(actions):
            yield part_s * (number + latest * self.dice.random()), action

    def _trade(self, elapsed_s: float) -> None:
        """Let the market move a little, then trade with resting orders until the fills are as many as due."""
        self.fleet.step(1)
        missing = self.plan.fills * min(1.0, elapsed_s / self.plan.duration_s) - self.fills
        for member in self.fleet.members:
            least = MIN_QUANTITY[member.base_asset]
            parts = min(BURST, int(missing / len(self.fleet.members)) + 1)
            if missing > 0:
                self.exchange.trade_in_parts(member.symbol, self.dice, parts=parts, least=least)
        self._count_fills()
        queue = BookingQueue(self.fleet.context.client)
        self.longest_queue = max(self.longest_queue, queue.length())

    def _count_fills(self) -> None:
        with self.fleet.journal.open("rb") as file:
            file.seek(self._read_until)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read_until += len(whole)
        self.fills += whole.count(b'"event":"fill"')

    def _kill_feed(self) -> bool:
        """Kill the feed while it listens."""
        process = self.fleet.stack.processes["feed"]
        if not process.is_alive or not feed_listens(self.fleet, process.pid):
            return False
        process.kill()
        self.kills += 1
        return True

    def _disconnect(self) -> bool:
        closed = self.exchange.disconnect(abort=self.dice.random() < 0.5)
        self.cut += closed
        return closed > 0

    def _shock_streams(self) -> bool:
        self.exchange.set_stream_faults(*map(dict, (*STREAM_FAULTS, *STREAM_SHOCKS)))
        return True

    def _pay_funding(self) -> bool:
        perps = [member.symbol for member in self.fleet.members if member.symbol.endswith("_PERP")]
        paid = self.exchange.pay_funding(self.dice.choice(perps), self.dice.choice(FUNDING_RATES))
        self.payments += paid
        return paid > 0

    def _restart(self) -> bool:
        """Stop an instance and start it again, while the others trade on."""
        member = self.dice.choice(list(self.fleet.members))
        context, name = self.fleet.context, member.instance_id
        context.instances.request_stop(name, by="soak", reason="restart", policy=stop_policy(context, name))
        eventually(lambda: self._is_stopped(member), 60, what=f"{name} stopped")

        def started() -> bool:
            try:
                return start_instance(context, name, by="soak").result.started
            except ExchangeError:
                return False

        eventually(started, 60, what=f"{name} started again")
        self._note_run(member)
        self.restarts += 1
        return True

    def _is_stopped(self, member: Member) -> bool:
        self._bring_back_in_time()
        self.fleet.step(1)
        return self.fleet.record(member).phase is Phase.STOPPED

    def _note_run(self, member: Member) -> None:
        record = self.fleet.record(member)
        assert record.started_at_ms is not None
        self.epochs.setdefault(record.slot, []).append((record.started_at_ms, record.epoch))

    def _take_database_away(self) -> bool:
        if self._back_at_s is not None:
            return False
        self._noticed_before = outages_noticed(self.fleet)
        self.database.take_away()
        self.outages += 1
        self._back_at_s = time.monotonic() + self.database.least_outage_s
        return True

    def _bring_back_in_time(self) -> None:
        """End an outage that was long enough, and that a feed has met: one that is killed meets none."""
        if self._back_at_s is None or time.monotonic() < self._back_at_s:
            return
        if outages_noticed(self.fleet) > self._noticed_before:
            self.database.bring_back()
            self._back_at_s = None

    def _fault_setter(self, number: int) -> Callable[[], bool]:
        def set_fault() -> bool:
            self.exchange.set_faults(dict(REQUEST_FAULTS[number]))
            return True

        return set_fault


def feed_log(fleet: Fleet) -> str:
    """Return what all feeds, one after the other, have written."""
    return fleet.stack.processes["feed"].log_file.read_text(errors="replace")


def outages_noticed(fleet: Fleet) -> int:
    """Return how often a feed could not book."""
    return feed_log(fleet).count("ledger does not book")


def feed_listens(fleet: Fleet, pid: int | None = None) -> bool:
    """Tell whether a feed has an account (that of `pid`, if given, on this machine)."""
    context = fleet.context
    living = Feeds(context.client, context.scripts).processes(now_ms=context.instances.now_ms())
    name = None if pid is None else f"{platform.node()}:{pid}"
    return any(process.accounts for process in living if name in (None, process.name))

"""One crash test from start to end: bring everything up, let it go wrong, let it settle, judge."""

from __future__ import annotations

import json
import logging
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import structlog

from ledger.database import open_ledger
from ledger.queries import open_orders
from runner.context import open_context
from state import keys
from state.bookings import BookingQueue
from state.feeds import Feeds
from tests.chaos.auditor import Verdict, judge
from tests.chaos.evidence import (
    META_FILE,
    OWN_ACCOUNT,
    ROUNDS_FILE,
    Evidence,
    FaultTime,
    Round,
    Run,
    RunBook,
    load_evidence,
    save_ledger,
    steps_of,
)
from tests.chaos.failover import FAILOVERS, SentinelPlant
from tests.chaos.faults import Fault, World
from tests.chaos.hosts import CUTS, HostsPlant
from tests.chaos.plant import Plant, now_ms
from tests.chaos.population import REFUSALS, Exchange, People, configure, everybody
from tests.chaos.recorder import Recorder
from tests.chaos.recovery import BOUND_MS, Recovery, Violation, recover
from tests.chaos.schedule import Planned, schedule

#: What a fault killed must have been started again by then.
OVER_S = 30.0
#: Orders of others, before anything goes wrong; one pair more in each round.
FOREIGN_PAIRS = 12
#: How long everybody may take to come up, and how long to settle at the end.
READY_S = 90.0
SETTLE_S = 120.0
#: Waited for beyond the bound, so that a late one shows how late it was.
PATIENCE_MS = 6_000

Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to do."""

    seconds: float
    seed: int
    #: Classes of faults; none for all of them.
    faults: Sequence[str] = ()
    mixed: bool = False
    #: `appendfsync` of the servers.
    fsync: str = "always"
    #: Three servers and three Sentinels in place of one server for the state and one for messages.
    sentinels: bool = False
    #: The same on three hosts (network namespaces): needs root.
    hosts: bool = False
    #: Of twenty, the first so many trade.
    instances: int = 20

    @property
    def is_long(self) -> bool:
        """Tell whether there is time for faults at their full length."""
        return self.seconds >= 240


@dataclass(kw_only=True)
class CrashTest:
    """One run of it."""

    plan: Plan
    folder: Path
    tell: Tell
    rounds: list[Round] = field(default_factory=list)
    _book: RunBook = field(default_factory=RunBook)
    _events_seen: int = 0
    #: Claims and commits before the round that is played.
    _trace_seen: int = 0
    #: By slot.
    _names: dict[int, str] = field(default_factory=dict)

    def run(self) -> tuple[Evidence, Verdict]:
        """Do it all. Raises `StackError`, or `AssertionError` where it does not even come up or settle."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with _logging_to(self.folder / "harness.log"):
            self._run()
        evidence = load_evidence(self.folder)
        return evidence, judge(evidence)

    def _run(self) -> None:
        kind = HostsPlant if self.plan.hosts else SentinelPlant if self.plan.sentinels else Plant
        plant = kind(folder=self.folder, seed=self.plan.seed, fsync=self.plan.fsync)
        members = everybody()[: self.plan.instances]
        configure(members, plant.config_dir, random.Random(f"{self.plan.seed}:members"))
        plant.start()
        try:
            exchange = Exchange(plant.simulator_url)
            names = [member.instance_id for member in members]
            recorder = Recorder(plant.url("state"), names, self.folder)
            recorder.start()
            people = People(plant.settings(), members, self.plan.seed)
            world = World(plant=plant, exchange=exchange, people=people, recorder=recorder)
            self._begin(world)
            try:
                self._play(world)
                self._settle(world)
            finally:
                people.end()
                recorder.end()
                self._write_meta(world)
                exchange.close()
        finally:
            plant.stop()

    def _begin(self, world: World) -> None:
        """Let everybody start, and wait until all have iterated."""
        dice = random.Random(f"{self.plan.seed}:foreign")
        for _ in range(FOREIGN_PAIRS):
            world.exchange.place_foreign(dice)
        state = world.state()
        up = world.plant.wait_for(
            lambda: state.hlen(keys.WORKERS) >= 3 and bool(state.hlen(keys.FEEDS)), READY_S
        )
        assert up, f"the workers did not come up; see {world.plant.log_dir}"
        state.close()
        world.people.start_all()
        self._names = world.people.slots()

        def all_iterate() -> bool:
            done = {step["instance"] for step in world.recorder.trace if step["event"] == "committed"}
            return done >= set(self._names.values())

        assert world.plant.wait_for(all_iterate, READY_S), f"not all iterate; see {world.plant.log_dir}"
        world.people.start()

    def _play(self, world: World) -> None:
        dice = random.Random(f"{self.plan.seed}:more")
        end_s = time.monotonic() + self.plan.seconds
        for planned in schedule(
            self.plan.seed,
            names=self._faults,
            mixed=self.plan.mixed,
            full=self.plan.is_long,
        ):
            if time.monotonic() >= end_s:
                return
            world.exchange.place_foreign(dice)
            self._play_round(world, planned)
            world.plant.pause(planned.calm_s)

    @property
    def _faults(self) -> Sequence[str]:
        if self.plan.faults:
            return self.plan.faults
        return (*FAILOVERS, *CUTS) if self.plan.hosts else tuple(FAILOVERS) if self.plan.sentinels else ()

    def _play_round(self, world: World, planned: Planned) -> None:
        begun_ms, begun_s = now_ms(), time.monotonic()
        self._trace_seen = len(world.recorder.trace)
        waiting = list(planned.faults)
        active: list[tuple[Fault, int, float]] = []
        ending: list[tuple[Fault, int, float]] = []
        times: list[FaultTime] = []
        while waiting or active or ending:
            elapsed_s = time.monotonic() - begun_s
            while waiting and waiting[0][0] <= elapsed_s:
                _, fault = waiting.pop(0)
                at_ms = now_ms()
                fault.begin(world)
                active.append((fault, at_ms, time.monotonic() + fault.hold_s))
            for each in [each for each in active if time.monotonic() >= each[2]]:
                active.remove(each)
                each[0].end(world)
                ending.append((each[0], each[1], time.monotonic() + OVER_S))
            for each in list(ending):
                if each[0].is_over(world):
                    ending.remove(each)
                    times.append(
                        FaultTime(
                            name=each[0].name,
                            detail=each[0].detail,
                            begun_at_ms=each[1],
                            ended_at_ms=now_ms(),
                        )
                    )
                assert time.monotonic() < each[2], f"{each[0]} does not end"
            world.plant.pause(0.02)
        found = Round(
            number=planned.number,
            row=planned.row,
            faults=times,
            begun_at_ms=begun_ms,
            ended_at_ms=max(each.ended_at_ms for each in times),
            load=round(os.getloadavg()[0], 2),
        )
        self.rounds.append(found)
        with (self.folder / ROUNDS_FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(found)) + "\n")
        self._recover(world, found)

    def _recover(self, world: World, found: Round) -> None:
        """Wait until everybody has recovered by the auditor's own rules, or is hopelessly late."""

        def looked() -> tuple[Recovery, list[Violation]]:
            known_ms = world.recorder.read_until_ms
            steps = steps_of(world.recorder.trace[self._trace_seen :])
            return recover(self._runs(world), steps, self.rounds, found, now_ms=known_ms)

        def is_recovered() -> bool:
            recovery, late = looked()
            return world.recorder.read_until_ms >= found.ended_at_ms and not recovery.waiting and not late

        world.plant.wait_for(_now_and_then(is_recovered), (BOUND_MS + PATIENCE_MS) / 1000)
        recovery, late = looked()
        what = "; ".join(f"{each.name} ({each.detail})" for each in found.faults)
        self.tell(
            f"{found.number:3} {what}: {len(recovery.again_ms)} iterate again within "
            f"{max(recovery.again_ms, default=0)} ms, {len(recovery.clean_ms)} stops clean within "
            f"{max(recovery.clean_ms, default=0)} ms{', LATE: ' if late else ''}"
            f"{', '.join(each.instance_id for each in late)}"
        )

    def _runs(self, world: World) -> list[Run]:
        """Return every run that the recorder has seen by now."""
        new = world.recorder.events[self._events_seen :]
        self._events_seen += len(new)
        for event in new:
            self._book.see(event)
        return self._book.runs

    def _settle(self, world: World) -> None:
        """Stop everybody, and wait until the ledger has had the time to learn everything."""
        world.people.end()
        plant, exchange = world.plant, world.exchange
        exchange.clear_faults()
        for name in world.people.running():
            world.people.stop(name)

        def all_stopped() -> bool:
            with suppress(*REFUSALS):
                return not world.people.not_stopped()
            return False

        assert plant.wait_for(_now_and_then(all_stopped), SETTLE_S), (
            f"not stopped at the end: {world.people.not_stopped()}; see {plant.log_dir}"
        )
        context = open_context(plant.settings())
        queue, feeds = BookingQueue(context.client), Feeds(context.client, context.scripts)
        account, since_ms = context.instances.read_all()[0].account, context.instances.now_ms()
        with open_ledger(plant.ledger_url) as ledger:

            def is_told() -> bool:
                exchange.disconnect(abort=False)  # it reconciles when it connects again
                read_ms = feeds.cursor(account, "funding") or 0
                return read_ms > since_ms and queue.length() == 0 and not _own_open(ledger_orders())

            def ledger_orders() -> list[int | None]:
                return [order.client_order_id for order in open_orders(ledger, account)]

            def _own_open(client_ids: list[int | None]) -> bool:
                return any(each is not None and each >> 20 in self._names for each in client_ids)

            told = plant.wait_for(_now_and_then(is_told, 4.0), SETTLE_S)
        context.client.close()
        count = save_ledger(plant.ledger_url, self.folder)
        self.tell(
            f"settled: {count} fills in the ledger{'' if told else ', which has not learned everything'}"
        )

    def _write_meta(self, world: World) -> None:
        settings = world.plant.settings()
        content = {
            "seed": self.plan.seed,
            "lease_ms": settings.lease_ms,
            "names": self._names,
            "account": OWN_ACCOUNT,
            "until_ms": now_ms(),
            "starts": world.people.starts,
            "stops": world.people.stops,
        }
        (self.folder / META_FILE).write_text(json.dumps(content), encoding="utf-8")


@contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """Let what our own use of the programs' code logs go to a file: the screen is for the rounds."""
    with path.open("a", encoding="utf-8") as file:
        handler = logging.StreamHandler(file)
        logging.getLogger().addHandler(handler)
        structlog.configure(logger_factory=structlog.WriteLoggerFactory(file))
        try:
            yield
        finally:
            logging.getLogger().removeHandler(handler)
            structlog.reset_defaults()


def _now_and_then(condition: Callable[[], bool], every_s: float = 0.3) -> Callable[[], bool]:
    """Return a condition that looks at `condition` only every so often, since that takes its time."""
    next_s = 0.0

    def looks() -> bool:
        nonlocal next_s
        if time.monotonic() < next_s:
            return False
        found = condition()
        next_s = time.monotonic() + every_s
        return found

    return looks

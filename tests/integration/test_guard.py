"""The guard on a real state server, with a venue in memory: what it reads, and what it leaves alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest
import redis

from cli.stack.valkey import ValkeyServer
from exchanges.registry import Venue
from guard.account import Rules
from guard.memory import Memory
from guard.service import GuardOptions, GuardService
from guard.watched import Watched
from market.orders import Side
from runner.config import InstanceConfig
from state import keys
from state.connection import connect, connect_impatiently
from state.events import Events
from state.guards import READY, Guards
from state.heartbeats import Heartbeats
from state.leases import Lease
from state.record import Phase
from state.stop_policy import StopPolicy
from tests.factories import ACCOUNT, INSTANCE_ID, SLOT, fill, loaded_instance
from tests.fake_venue import FakeVenue
from tests.integration.state_bench import NAME, StateBench
from tests.integration.trader import Trader
from tests.unit.guard.guard_bench import order

T = TypeVar("T")

AFTER_S = 0.5
#: The same where somebody has to work more often than that, beside others.
PATIENT_S = 3.0
DEADLINE_S = 60.0


def eventually(condition: Callable[[], T | None]) -> T:
    """Return the first true value of `condition`, or fail."""
    deadline_s = time.monotonic() + DEADLINE_S
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def moves(bench: StateBench, act: Callable[[], object]) -> bool:
    """Tell whether what `act` does to the record is a sign of life."""
    heartbeats = Heartbeats(bench.client)
    before = heartbeats.read().beats[NAME].pulse
    act()
    return heartbeats.read().beats[NAME].pulse.is_newer_than(before)


def test_every_step_of_an_iteration_and_of_a_cleanup_is_a_sign_of_life_and_a_request_is_none(
    bench: StateBench,
) -> None:
    lease = bench.leases.claim(NAME, epoch=1, tick=0, task_id="t")
    assert isinstance(lease, Lease)
    assert not moves(bench, lambda: None)
    bench.clock.advance(1)
    assert moves(
        bench,
        lambda: bench.leases.commit(
            lease, resolved=True, state_json="", interval_ms=60_000, next_task_id="n", order_ids=["7"]
        ),
    )
    beat = Heartbeats(bench.client).read().beats[NAME]
    assert (beat.phase, beat.slot, beat.account, beat.order_ids) == (Phase.RUNNING, 7, "acc", ("7",))
    assert beat.owes_nothing(bench.clock.now_ms)
    assert not moves(bench, bench.stop)
    assert not Heartbeats(bench.client).read().beats[NAME].owes_nothing(bench.clock.now_ms)
    assert moves(bench, lambda: bench.cleanup_leases.claim(NAME, epoch=1, by="c"))
    assert Heartbeats(bench.client).read().beats[NAME].owes_nothing(bench.clock.now_ms)


def test_a_stop_that_keeps_orders_says_so(bench: StateBench) -> None:
    bench.stop(StopPolicy(cancel_orders=False))
    assert Heartbeats(bench.client).read().beats[NAME].keeps_orders


def test_bytes_that_are_no_text_hide_nobody_from_a_guard(
    bench: StateBench, valkey_server: ValkeyServer
) -> None:
    bench.client.hset(keys.record("broken_01"), mapping={"phase": b"\xff\xfe"})
    bench.client.sadd(keys.INSTANCES, "broken_01")
    with connect_impatiently(valkey_server.url, timeout_s=5) as client:
        assert set(Heartbeats(client).read().beats) == {NAME}


def test_damaged_and_missing_records_show_nothing_and_hide_nobody(bench: StateBench) -> None:
    for name in ("no_phase", "wrong_type", "odd"):
        bench.client.sadd(keys.INSTANCES, name)
    bench.client.hset(keys.record("no_phase"), "epoch", 1)
    bench.client.set(keys.record("wrong_type"), "x")
    bench.client.hset(keys.record("odd"), mapping={"phase": "dancing", "epoch": 1})
    bench.client.hset(keys.WORKERS, mapping={"broken": "{", "w": '{"queues": ["iterate"], "at_ms": 5}'})
    reading = Heartbeats(bench.client).read(["never_there"])
    assert set(reading.beats) == {NAME}
    assert reading.workers == {"iterate": 5}


class Guarded:
    """A service worked by hand; its accounts' threads are real."""

    def __init__(
        self,
        client: redis.Redis,
        venue: FakeVenue,
        folder: Path,
        *,
        stops: bool = False,
        after_s: float = AFTER_S,
    ) -> None:
        self.client = client
        self.venue = venue
        self.service = GuardService(
            GuardOptions(
                name="guard@test",
                rules=Rules(after_s=after_s, fence_margin_ms=0),
                stops=stops,
                simulator_url="http://127.0.0.1:1",
            ),
            client,
            Memory(folder / "guard.json", "redis://127.0.0.1:1/0"),
            open_venue=self._open,
        )

    def _open(self, one: Watched) -> tuple[Venue, str]:
        return self.venue, one.account.rsplit(":", 1)[1]

    def rounds_until(self, condition: Callable[[], object]) -> None:
        """Look around until something has come true."""

        def looked() -> bool:
            self.service.round()
            return bool(condition())

        eventually(looked)

    def events(self, event: str) -> list[dict[str, str]]:
        """Return what the stream says."""
        return [dict(e.fields) for e in Events(self.client).of_instance(INSTANCE_ID) if e.event == event]

    def watch_for(self, duration_s: float) -> None:
        """Look around for a while."""
        end_s = time.monotonic() + duration_s
        while time.monotonic() < end_s:
            self.service.round()
            time.sleep(0.02)


@pytest.fixture
def config_json() -> str:
    config: InstanceConfig = loaded_instance().config
    return config.to_json()


@pytest.fixture
def run(trader: Trader, config_json: str) -> Trader:
    """A run with two orders on the book, whose configuration a guard can read."""
    trader.bench.client.set(keys.config(INSTANCE_ID), config_json)
    trader.run()
    assert len(trader.venue.resting) == 2
    return trader


@pytest.fixture
def guarded(run: Trader, tmp_path: Path) -> Iterator[Guarded]:
    guarded = Guarded(run.bench.client, run.venue, tmp_path)
    yield guarded
    guarded.service._close()


@pytest.fixture
def patient(run: Trader, tmp_path: Path) -> Iterator[Guarded]:
    guarded = Guarded(run.bench.client, run.venue, tmp_path, after_s=PATIENT_S)
    yield guarded
    guarded.service._close()


def work_on(run: Trader, guarded: Guarded) -> None:
    """Go on with a run for longer than a patient guard waits, and look around meanwhile."""
    end_s = time.monotonic() + 1.5 * PATIENT_S
    while time.monotonic() < end_s:
        run.run()
        guarded.service.round()
        time.sleep(0.1)


def record_of(run: Trader) -> dict[str, str]:
    return dict(run.bench.client.hgetall(keys.record(INSTANCE_ID)))  # type: ignore[arg-type]


def test_a_silent_runs_orders_go_and_its_record_stays_as_it_was(run: Trader, guarded: Guarded) -> None:
    foreign = order("9", slot=SLOT + 1)
    run.venue.rest(foreign)
    before = record_of(run)
    guarded.rounds_until(lambda: guarded.events("guard_verified"))
    assert list(run.venue.resting) == ["9"]
    (acted,) = guarded.events("guard_acted")
    assert len(acted["cancelled"].split(",")) == 2
    assert (acted["by"], acted["epoch"]) == ("guard@test", "1")
    assert len(guarded.events("guard_watching")) == 1
    assert record_of(run) == before
    (process,) = Guards(guarded.client).processes(now_ms=run.bench.context.instances.now_ms())
    assert (process.silent, process.accounts) == ((INSTANCE_ID,), {ACCOUNT: READY})


def test_a_run_that_goes_on_places_anew_and_counts_each_fill_once(run: Trader, guarded: Guarded) -> None:
    (bid,) = run.resting(Side.BUY)
    resting = run.venue.resting[bid]
    filled = fill("1", order_id=bid, quantity="0.4", filled_at_ms=resting.created_at_ms + 1)
    run.venue.filled.append(filled)
    run.venue.resting[bid] = replace(resting, executed_quantity=filled.quantity)
    guarded.rounds_until(lambda: not run.venue.resting)
    run.run()
    run.run()
    assert len(run.venue.resting) == 2
    assert run.bench.record.errors == 0
    assert str(run.books.profit.net) == "0.4"
    assert run.intents == {}


def test_whoever_works_is_left_alone(run: Trader, patient: Guarded) -> None:
    work_on(run, patient)
    assert patient.events("guard_acted") == []


def test_a_slot_that_is_another_instances_is_not_touched(run: Trader, guarded: Guarded) -> None:
    run.bench.client.hset(keys.slots(ACCOUNT), f"#{SLOT}", "somebody_else")
    guarded.rounds_until(lambda: "account_open_orders" in run.venue.names())
    guarded.watch_for(3 * AFTER_S)
    assert run.venue.names("cancel") == []
    assert len(run.venue.resting) == 2


def test_a_server_that_came_back_empty_leaves_the_orders_to_the_guard(run: Trader, guarded: Guarded) -> None:
    guarded.service.round()
    run.bench.client.flushall()
    guarded.rounds_until(lambda: not run.venue.resting)


def test_a_run_that_was_stopped_is_not_watched_any_more(run: Trader, guarded: Guarded) -> None:
    guarded.service.round()
    run.bench.stop_and_clean_up()
    assert run.bench.phase is Phase.STOPPED
    run.venue.rest(order("9"))
    guarded.watch_for(2 * AFTER_S)
    assert list(run.venue.resting) == ["9"]


def test_a_stop_that_keeps_orders_keeps_them_from_the_guard_too(run: Trader, guarded: Guarded) -> None:
    guarded.service.round()
    run.bench.stop(StopPolicy(cancel_orders=False))
    guarded.watch_for(2 * AFTER_S)
    assert len(run.venue.resting) == 2


def test_an_instance_that_the_list_of_all_has_lost_is_read_all_the_same(
    run: Trader, patient: Guarded
) -> None:
    patient.service.round()
    run.bench.client.delete(keys.INSTANCES)
    work_on(run, patient)
    assert patient.events("guard_acted") == []
    # It was looked at once, for the key, and not because anybody seemed silent.
    assert len(run.venue.names("account_open_orders")) == 1


def test_a_guard_that_never_saw_the_state_server_acts_from_its_file(
    run: Trader, guarded: Guarded, tmp_path: Path
) -> None:
    guarded.service.round()
    with connect("redis://127.0.0.1:1/0") as nobody:
        alone = Guarded(nobody, run.venue, tmp_path)
        begun_s = time.monotonic()
        alone.rounds_until(lambda: not run.venue.resting)
        assert time.monotonic() - begun_s >= AFTER_S
        alone.service._close()


def test_a_stop_that_is_owed_survives_the_guard(run: Trader, tmp_path: Path) -> None:
    first = Guarded(run.bench.client, run.venue, tmp_path, stops=True)
    first.service.round()
    # The state server refuses the guard's word until another guard has taken over.
    first.service._stops.ask_for_all = lambda *_: None  # type: ignore[method-assign]
    first.rounds_until(lambda: not run.venue.resting and first.service._stops.epochs())
    first.service.round()
    first.service._close()
    assert run.bench.record.stop_by == ""

    second = Guarded(run.bench.client, run.venue, tmp_path, stops=True)
    second.service.round()
    second.service._close()
    assert run.bench.phase is Phase.STOPPING
    assert run.bench.record.stop_by == "guard guard@test"
    outcome = run.bench.clean_up()
    assert outcome is not None
    assert outcome.is_clean


def test_a_stop_that_is_owed_does_not_hit_a_later_run(run: Trader, tmp_path: Path) -> None:
    guarded = Guarded(run.bench.client, run.venue, tmp_path, stops=True)
    guarded.service._stops._owed[INSTANCE_ID] = 1
    run.bench.stop()
    run.bench.clean_up()
    run.bench.start()
    guarded.service.round()
    guarded.service._close()
    assert run.bench.phase is Phase.RUNNING
    assert guarded.service._stops.epochs() == {}


def test_a_refused_word_is_no_silence_of_others(
    run: Trader, patient: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise redis.ResponseError("MISCONF cannot write")

    monkeypatch.setattr(patient.service._guards, "heartbeat", refuse)
    work_on(run, patient)
    assert len(run.venue.resting) == 2


def test_an_order_id_alone_makes_nobody_an_owner(run: Trader, guarded: Guarded) -> None:
    # A human's order, whose id the record holds by a mistake of somebody.
    run.venue.rest(order("8", slot=None))
    run.bench.set_field("order_ids", "8")
    guarded.rounds_until(lambda: guarded.events("guard_verified"))
    assert list(run.venue.resting) == ["8"]

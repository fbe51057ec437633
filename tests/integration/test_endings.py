"""Work whose worker shuts down: it ends where nothing is open, and others are told to go on at once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from cli.stack.valkey import ValkeyServer
from exchanges.errors import Unavailable
from market.orders import Side
from market.snapshot import Snapshot
from runner import cleanup_attempt
from runner.publisher import Iteration
from state.cleanup_leases import CleanupLease
from state.due import CleanUp
from state.record import Phase
from strategies.base import Decision, State
from tests.factories import ACCOUNT, INSTANCE_ID, loaded_instance, open_order, quote
from tests.fake_venue import GO_ON
from tests.integration.cleanup_bench import SETTINGS
from tests.integration.runner_bench import RunnerBench

INTERVAL_MS = 60_000


class Worker:
    """Shuts down when a test says so."""

    def __init__(self) -> None:
        self.ends = False

    def end(self, *_: object) -> object:
        """Shut down in the course of a request, which is answered as usual."""
        self.ends = True
        return GO_ON


@pytest.fixture
def worker() -> Worker:
    """A worker that goes on for now."""
    return Worker()


@pytest.fixture
def bench(
    redis_client: redis.Redis, valkey_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch, worker: Worker
) -> RunnerBench:
    """A started instance that quotes both sides; its order at 98 is not wanted any more."""

    def decide(_: Snapshot, state: State) -> Decision[State]:
        return Decision(quotes=(quote(Side.BUY, "99"), quote(Side.SELL, "101")), state=state)

    instance = loaded_instance(decide=decide, interval_ms=INTERVAL_MS, window_ms=5_000)
    bench = RunnerBench(valkey_server.url, monkeypatch, instance, SETTINGS)
    bench.is_ending = lambda: worker.ends
    return bench


def wake_ups(messages: tuple[Iteration, ...]) -> list[float]:
    """Return the countdowns of the wake-ups among them."""
    return [message.countdown_s for message in messages if message.tick is None]


def test_nothing_is_begun_any_more_and_the_message_goes_on_as_it_is(
    bench: RunnerBench, worker: Worker
) -> None:
    worker.ends = True
    assert bench.run(0) == (
        Iteration(instance_id=INSTANCE_ID, account=ACCOUNT, epoch=1, tick=0, task_id="task"),
    )
    assert (bench.record.seq, bench.venue.calls) == (0, [])


def test_an_iteration_that_has_read_decides_and_sends_nothing(bench: RunnerBench, worker: Worker) -> None:
    bench.rest_own(open_order("5", price="98"))
    bench.venue.faults["open_orders"].append(worker.end)
    messages = bench.run(0)
    assert bench.venue.names("place", "cancel") == []
    assert (bench.record.lease_until_ms, bench.record.errors, bench.record.tick) == (0, 0, 1)
    assert wake_ups(messages) == [0.0]
    worker.ends = False
    bench.deliver(None)
    assert bench.venue.names("place", "cancel") == ["cancel", "place"]


def test_an_iteration_that_has_cancelled_places_nothing_and_another_does_at_once(
    bench: RunnerBench, worker: Worker
) -> None:
    bench.rest_own(open_order("5", price="98"))
    bench.venue.faults["cancel"].append(worker.end)
    messages = bench.run(0)
    assert bench.venue.names("place", "cancel") == ["cancel"]
    assert bench.record.fence_ms == 0, "nothing was authorised"
    assert wake_ups(messages) == [0.0]
    worker.ends = False
    bench.deliver(None)
    assert bench.venue.names("place") == ["place"]


def test_a_placement_that_is_open_gets_its_answer_and_nothing_has_to_follow(
    bench: RunnerBench, worker: Worker
) -> None:
    bench.venue.faults["place"].append(worker.end)
    messages = bench.run(0)
    assert len(bench.venue.resting) == 2
    assert bench.field("order_ids") == ",".join(bench.venue.resting)
    assert bench.record.fence_ms == 0, "every request was answered"
    assert [message.tick for message in messages] == [1]


def test_a_cleanup_in_good_order_is_done(bench: RunnerBench, worker: Worker) -> None:
    bench.venue.rest(open_order("5"))
    bench.knows("5")
    bench.venue.faults["cancel"].append(worker.end)
    assert bench.stop_and_clean_up().is_clean
    assert bench.phase is Phase.STOPPED


def test_a_cleanup_that_is_held_up_goes_to_another_at_once(bench: RunnerBench, worker: Worker) -> None:
    bench.venue.rest(open_order("5"))
    bench.knows("5")

    def fail(_: object) -> None:
        worker.end()
        raise Unavailable("down")

    bench.venue.faults["cancel"].append(fail)
    bench.stop()
    assert bench.clean_up() is None
    assert bench.venue.names("cancel", "open_orders") == ["cancel"], "only the round that was open"
    assert bench.record.attempts == 0
    work = bench.context.due.sweep(INSTANCE_ID, task_id="t")
    assert isinstance(work, CleanUp)
    assert bench.context.due.wait(timeout_s=1) == INSTANCE_ID
    worker.ends = False
    outcome = bench.clean_up()
    assert outcome is not None
    assert (outcome.is_clean, outcome.attempt) == (True, 1)


def test_a_cleanup_that_takes_longer_than_its_grace_goes_to_another(
    bench: RunnerBench, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cleanup_attempt.ENDING_GRACE_S == 1.0
    monkeypatch.setattr(cleanup_attempt, "ENDING_GRACE_S", 0.1)
    lease = bench.claim()
    bench.stop()
    worker.ends = True
    # It waits for an iteration that does not end.
    assert bench.clean_up() is None
    assert bench.venue.names("open_orders") == []
    bench.commit(lease)
    worker.ends = False
    assert isinstance(bench.context.cleanup_leases.claim(INSTANCE_ID, epoch=1, by="another"), CleanupLease)


def test_a_cleanup_that_lost_its_lease_while_it_was_to_end_changes_nothing(
    bench: RunnerBench, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanup_attempt, "ENDING_GRACE_S", 0.0)
    bench.stop()
    others: list[Callable[[], bool]] = []

    def take_over() -> bool:
        if not others:
            bench.set_field("cleanup_until", 1)
            another = bench.context.cleanup_leases.claim(INSTANCE_ID, epoch=1, by="another")
            assert isinstance(another, CleanupLease)
            others.append(lambda: bench.context.cleanup_leases.renew(another).now_ms > 0)
        return True

    bench.is_ending = take_over
    assert bench.clean_up() is None
    assert others[0](), "the other's lease is its own"

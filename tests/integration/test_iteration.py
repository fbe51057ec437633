"""One iteration on a real state server: what it sends, keeps and publishes, and how it fails."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from cli.stack.valkey import ValkeyServer
from exchanges.base import PlaceResult
from exchanges.errors import OutcomeUnknown, Unavailable
from market.orders import Quote, Side
from market.snapshot import Snapshot
from runner import loaded
from runner.committing import UNKNOWN_INTERVAL_MS
from settings import Settings
from state import keys
from state.cleanup_leases import CleanupLease
from state.record import Phase
from state.stop_policy import StopPolicy
from state.stop_story import StopCause
from strategies.base import Decision, State
from tests.factories import INSTANCE_ID, PERP_SYMBOL, SLOT, instrument, loaded_instance, open_order, quote
from tests.integration.runner_bench import RunnerBench

INTERVAL_MS = 200
#: Longer than the slowest machine takes for two iterations: no fence is over before it is looked at.
WINDOW_MS = 60_000
MARGIN_MS = 1_000
SETTINGS = Settings(fence_margin_ms=MARGIN_MS, max_consecutive_errors=3, visibility_timeout_s=180)
QUOTES = (quote(Side.BUY, "99"), quote(Side.SELL, "101"))


class Brain:
    """A strategy whose answer a test sets; it remembers what it saw."""

    def __init__(self) -> None:
        self.quotes: tuple[Quote, ...] = QUOTES
        self.stop_reason: str | None = None
        self.is_loss = False
        self.snapshots: list[Snapshot] = []
        self.meanwhile: Callable[[], object] = lambda: None

    def decide(self, snapshot: Snapshot, state: State) -> Decision[State]:
        """Note the snapshot, let something happen meanwhile, and answer."""
        self.snapshots.append(snapshot)
        self.meanwhile()
        return Decision(quotes=self.quotes, state=state, stop_reason=self.stop_reason, is_loss=self.is_loss)


@pytest.fixture
def brain() -> Brain:
    """The strategy."""
    return Brain()


@pytest.fixture
def make(
    redis_client: redis.Redis, valkey_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch, brain: Brain
) -> Callable[..., RunnerBench]:
    """Start an instance; the arguments are those of `loaded_instance`."""

    def start(**changes: object) -> RunnerBench:
        arguments = {"decide": brain.decide, "interval_ms": INTERVAL_MS, "window_ms": WINDOW_MS} | changes
        return RunnerBench(valkey_server.url, monkeypatch, loaded_instance(**arguments), SETTINGS)  # type: ignore[arg-type]

    return start


@pytest.fixture
def bench(make: Callable[..., RunnerBench]) -> RunnerBench:
    """A started instance."""
    return make()


def test_the_first_iteration_places_what_is_wanted_and_schedules_the_next(bench: RunnerBench) -> None:
    (message,) = bench.run(0)
    assert bench.venue.names("cancel", "place") == ["place"]
    assert sorted(order.side for order in bench.venue.resting.values()) == [Side.BUY, Side.SELL]
    assert (message.epoch, message.tick) == (1, 1)
    assert 0 < message.countdown_s <= INTERVAL_MS / 1000
    assert bench.field("pending_task_id") == message.task_id


def test_the_second_iteration_keeps_what_still_fits_and_sends_nothing(bench: RunnerBench) -> None:
    bench.run(0)
    bench.run(1)
    bench.run(None)
    assert bench.venue.names("cancel", "place") == ["place"]


def test_every_placement_is_signed_with_the_authorised_time_on_the_exchanges_clock(
    bench: RunnerBench,
) -> None:
    bench.venue.the_clock.offset_ms = -400
    bench.venue.faults["place"].append(OSError("network"))
    bench.run(0)
    (authorization,) = bench.venue.authorizations
    authorised_at_ms = bench.record.fence_ms - WINDOW_MS - MARGIN_MS
    assert authorization.signed_at_ms == authorised_at_ms - 400
    assert authorization.window_ms == WINDOW_MS


def test_only_own_orders_are_in_the_snapshot(bench: RunnerBench, brain: Brain) -> None:
    bench.rest_own(open_order("ours", side=Side.BUY, price="99", level=0))
    bench.venue.rest(open_order("another instance's", slot=SLOT + 1), open_order("a human's", slot=None))
    bench.run(0)
    (snapshot,) = brain.snapshots
    assert [own.order.order_id for own in snapshot.open_orders] == ["ours"]
    assert bench.venue.about("cancel") == []


def test_a_perpetual_reads_its_position_and_no_balances(
    make: Callable[..., RunnerBench], brain: Brain
) -> None:
    bench = make(perp=True)
    bench.venue.the_instrument = instrument(perp=True)
    bench.run(0)
    (snapshot,) = brain.snapshots
    assert snapshot.position is not None
    assert bench.venue.about("position") == [PERP_SYMBOL]
    assert bench.venue.names("balances") == []


@pytest.mark.parametrize("read", ["open_orders", "order_book", "balances"])
def test_a_read_that_fails_leads_to_no_decision(bench: RunnerBench, brain: Brain, read: str) -> None:
    bench.venue.always[read] = Unavailable("down")
    bench.run(0)
    assert brain.snapshots == []
    assert bench.venue.names("place", "cancel") == []
    assert bench.record.errors == 1


def test_errors_are_counted_and_back_off(bench: RunnerBench) -> None:
    bench.venue.always["open_orders"] = Unavailable("the exchange is down")
    waits = [message.countdown_s for tick in (0, 1) for message in bench.run(tick)]
    assert waits == [1.0, 2.0]
    assert (bench.record.errors, bench.record.last_error) == (2, "Unavailable: the exchange is down")


def test_a_success_ends_the_row_of_errors(bench: RunnerBench) -> None:
    bench.venue.faults["open_orders"] += [Unavailable("down"), Unavailable("down")]
    for tick in range(4):
        bench.run(tick)
    assert (bench.record.errors, bench.phase) == (0, Phase.RUNNING)


def test_too_many_errors_in_a_row_lead_to_a_stop_that_says_why(make: Callable[..., RunnerBench]) -> None:
    bench = make(stop_policy=StopPolicy(cancel_orders=False))
    bench.venue.always["open_orders"] = Unavailable("the exchange is down")
    messages = [bench.run(tick) for tick in range(3)]
    assert [len(each) for each in messages] == [1, 1, 0]
    record = bench.record
    assert (record.phase, record.stop_by) == (Phase.STOPPING, "strategy")
    assert record.stop_reason == (
        "3 iterations failed in a row, the last with Unavailable: the exchange is down"
    )
    assert bench.cause_of_its_stop == StopCause.ERRORS
    cleanup = bench.context.cleanup_leases.claim(INSTANCE_ID, epoch=1, by="test")
    assert isinstance(cleanup, CleanupLease)
    assert cleanup.policy == StopPolicy(cancel_orders=False)


def test_a_run_whose_configuration_is_gone_is_failed_at_once(
    bench: RunnerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(loaded._known, INSTANCE_ID)
    assert bench.run(0) == ()
    assert "configuration of its run is missing" in bench.record.last_error
    assert bench.phase is Phase.FAILED


def test_a_configuration_of_another_run_is_an_error_like_any_other(
    bench: RunnerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(loaded._known, INSTANCE_ID)
    bench.client.set(keys.config(INSTANCE_ID), "{}")
    (message,) = bench.run(0)
    assert "is another run's" in bench.record.last_error
    assert message.countdown_s == UNKNOWN_INTERVAL_MS / 1000


def test_a_run_whose_time_is_over_stops_without_trading(make: Callable[..., RunnerBench]) -> None:
    bench = make(duration_ms=60_000)
    bench.set_field("started_at", bench.context.instances.now_ms() - 60_000)
    assert bench.run(0) == ()
    assert (bench.phase, bench.record.stop_reason) == (Phase.STOPPING, "duration is over")
    assert bench.cause_of_its_stop == StopCause.DURATION
    assert bench.venue.calls == []


def test_a_run_whose_time_is_not_over_goes_on(make: Callable[..., RunnerBench]) -> None:
    bench = make(duration_ms=60_000)
    bench.run(0)
    assert bench.phase is Phase.RUNNING


@pytest.mark.parametrize("is_loss", [False, True])
def test_a_strategy_can_stop_its_run(bench: RunnerBench, brain: Brain, is_loss: bool) -> None:
    brain.stop_reason, brain.is_loss = "enough", is_loss
    assert bench.run(0) == ()
    assert (bench.phase, bench.record.stop_reason) == (Phase.STOPPING, "enough")
    assert bench.cause_of_its_stop == (StopCause.LOSS if is_loss else StopCause.STRATEGY)
    assert bench.venue.names("place", "cancel") == []


def test_the_wish_of_an_old_run_to_stop_does_not_stop_the_new_one(bench: RunnerBench, brain: Brain) -> None:
    def restart() -> None:
        bench.set_field("phase", "stopped")
        bench.start()

    brain.stop_reason, brain.meanwhile = "enough", restart
    assert bench.run(0) == ()
    assert (bench.record.epoch, bench.phase) == (2, Phase.RUNNING)


@pytest.mark.parametrize(("epoch", "tick"), [(1, 0), (1, 2), (2, 1), (0, 1)])
def test_a_doubled_or_stale_message_does_nothing_and_publishes_nothing(
    bench: RunnerBench, brain: Brain, epoch: int, tick: int
) -> None:
    bench.run(0)
    before = bench.record
    calls = list(bench.venue.calls)
    assert bench.deliver(tick, epoch=epoch) == ()
    assert bench.record == before
    assert bench.venue.calls == calls


def test_a_message_that_comes_early_is_sent_on_in_hops(make: Callable[..., RunnerBench]) -> None:
    bench = make(interval_ms=3_600_000)
    (first,) = bench.run(0)
    (hop,) = bench.deliver(1)
    assert first.countdown_s == hop.countdown_s == SETTINGS.visibility_timeout_s / 3
    assert (hop.epoch, hop.tick) == (1, 1)
    assert hop.task_id != first.task_id
    assert bench.record.seq == 1


def test_a_wake_up_iterates_and_leaves_the_schedule_alone(
    make: Callable[..., RunnerBench], brain: Brain
) -> None:
    bench = make(interval_ms=60_000)
    bench.run(0)
    before = bench.record
    bench.context.own_fills.wake(INSTANCE_ID)
    assert bench.deliver(None) == ()
    assert len(brain.snapshots) == 2
    assert (bench.record.tick, bench.record.due_at_ms) == (before.tick, before.due_at_ms)


def test_who_comes_while_an_iteration_runs_is_answered_by_a_wake_up_after_it(
    bench: RunnerBench, brain: Brain
) -> None:
    answers: list[object] = []
    brain.meanwhile = lambda: answers.append(bench.context.own_fills.wake(INSTANCE_ID))
    scheduled, wake_up = bench.run(0)
    assert answers == ["again"]
    assert len(brain.snapshots) == 1
    assert (scheduled.tick, wake_up.tick, wake_up.countdown_s) == (1, None, 0.0)


def test_an_iteration_that_was_taken_over_sends_and_publishes_nothing(
    bench: RunnerBench, brain: Brain
) -> None:
    def take_over() -> None:
        bench.set_field("lease_until", 0)
        bench.claim()

    brain.meanwhile = take_over
    assert bench.run(0) == ()
    assert bench.venue.names("place", "cancel") == []
    assert (bench.record.tick, bench.record.seq) == (0, 2)


def test_a_stop_during_an_iteration_keeps_it_from_placing_and_from_publishing(
    bench: RunnerBench, brain: Brain
) -> None:
    brain.meanwhile = bench.stop
    assert bench.run(0) == ()
    assert bench.venue.names("place") == []
    assert (bench.record.lease_until_ms, bench.record.errors) == (0, 0)


def test_an_interrupted_placement_leaves_the_fence_behind(bench: RunnerBench, brain: Brain) -> None:
    bench.venue.faults["place"].append(TimeoutError("soft limit"))
    bench.run(0)
    fence_ms = bench.record.fence_ms
    assert fence_ms > bench.context.instances.now_ms()
    assert (bench.record.errors, bench.record.last_error) == (1, "TimeoutError: soft limit")
    brain.quotes = ()
    bench.run(1)
    assert bench.record.fence_ms == fence_ms


def test_a_placement_that_nobody_answers_leaves_the_fence_without_being_an_error(bench: RunnerBench) -> None:
    unknown = PlaceResult(error=OutcomeUnknown("no answer"))
    bench.venue.faults["place"].append(lambda orders: (unknown,) * len(orders))
    bench.run(0)
    assert bench.record.fence_ms > bench.context.instances.now_ms()
    assert bench.record.errors == 0


def test_nothing_is_placed_beside_a_placement_that_may_still_arrive(bench: RunnerBench) -> None:
    """The same quote twice would be twice the exposure."""
    unknown = PlaceResult(error=OutcomeUnknown("no answer"))
    bench.venue.faults["place"].append(lambda orders: (unknown,) * len(orders))
    bench.run(0)
    bench.run(1)
    assert bench.venue.names("place") == ["place"]

    bench.set_field("fence", bench.context.instances.now_ms())  # its window is over
    bench.run(2)
    assert bench.venue.names("place") == ["place", "place"]


def test_the_state_of_a_decision_is_kept_even_when_carrying_it_out_is_interrupted(bench: RunnerBench) -> None:
    """A market action may have traded: forgetting that it was wanted would trade twice."""
    bench.venue.faults["place"].append(TimeoutError("soft limit"))
    bench.run(0)
    assert bench.field("state") == State().model_dump_json()


@pytest.mark.parametrize("text", ["no JSON", "[]", '"x"'])
@pytest.mark.parametrize("field", ["state", "books"])
def test_a_run_whose_saved_state_is_damaged_is_failed_at_once(
    bench: RunnerBench, brain: Brain, field: str, text: str
) -> None:
    bench.set_field(field, text)
    assert bench.run(0) == ()
    assert bench.phase is Phase.FAILED
    assert "is damaged" in bench.record.stop_reason
    assert brain.snapshots == []
    assert bench.venue.names("place") == []
    # And then it is cleaned up like any other.
    bench.set_field("fence", 0)
    receipt = bench.clean_up()
    assert receipt is not None
    assert receipt.is_clean


@pytest.mark.parametrize("text", ['{"version":2}', '{"version":1,"grid":[]}'])
def test_a_state_this_version_does_not_know_is_an_error_and_stays_as_it_is(
    bench: RunnerBench, brain: Brain, text: str
) -> None:
    bench.set_field("state", text)
    bench.run(0)
    assert bench.record.last_error.startswith("StateUnreadable: the saved state of MarketMaker")
    assert brain.snapshots == []
    assert bench.venue.names("place") == []
    assert bench.field("state") == text


def known_ids(bench: RunnerBench) -> set[str]:
    """Return the own orders that a cleanup would be told of."""
    return set((bench.field("order_ids") or "").split(",")) - {""}


def test_a_cleanup_is_told_of_every_order_that_may_be_open(bench: RunnerBench, brain: Brain) -> None:
    bench.rest_own(open_order("kept", side=Side.BUY, price="99"))
    bench.rest_own(open_order("too far", side=Side.SELL, price="150", level=1))
    bench.run(0)
    assert bench.venue.about("cancel") == ["too far"]
    assert known_ids(bench) == {"kept", "placed-1"}


def test_an_order_whose_cancel_is_uncertain_is_still_told_of(bench: RunnerBench) -> None:
    bench.rest_own(open_order("maybe", side=Side.SELL, price="150"))
    bench.venue.faults["cancel"].append(OutcomeUnknown("no answer"))
    bench.run(0)
    assert known_ids(bench) == {"maybe", "placed-1"}


def test_an_iteration_that_read_nothing_forgets_no_order(bench: RunnerBench) -> None:
    bench.run(0)
    known = known_ids(bench)
    bench.venue.faults["open_orders"].append(Unavailable("down"))
    bench.run(1)
    assert known_ids(bench) == known == {"placed-1", "placed-2"}

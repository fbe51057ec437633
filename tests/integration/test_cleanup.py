"""A cleanup on a real state server and a venue in memory: what is cancelled, and what is called clean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import redis
from celery.exceptions import SoftTimeLimitExceeded

from cli.stack.valkey import ValkeyServer
from exchanges.errors import OutcomeUnknown, RateLimited, Refused, RequestExpired, Unavailable
from market.orders import CancelOutcome, OpenOrder
from runner.cleanup import ATTEMPTS_UNTIL_FAILED, FIRST_RETRY_MS
from runner.own_orders import REFUSALS_BELIEVED
from runner.parallel import MOST_AT_ONCE
from runner.receipt import Result
from runner.receipt_reading import read_receipt
from state import keys
from state.record import Phase
from state.stop_policy import StopPolicy
from tests.factories import INSTANCE_ID, SLOT, client_order_id, loaded_instance, open_order
from tests.integration.cleanup_bench import SETTINGS, WINDOW_MS, let_only_attempts_count, limit_by_steps
from tests.integration.runner_bench import RunnerBench


@pytest.fixture
def make(
    redis_client: redis.Redis, valkey_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., RunnerBench]:
    """Start an instance; the arguments replace settings."""

    def start(*, exclusive_symbol: bool = False, **settings: object) -> RunnerBench:
        instance = loaded_instance(window_ms=WINDOW_MS, exclusive_symbol=exclusive_symbol)
        if "cleanup_soft_limit_s" in settings:
            limit_by_steps(monkeypatch)
        return RunnerBench(valkey_server.url, monkeypatch, instance, replace(SETTINGS, **settings))  # type: ignore[arg-type]

    return start


@pytest.fixture
def bench(make: Callable[..., RunnerBench]) -> RunnerBench:
    """A started instance."""
    return make()


def test_the_usual_stop_costs_one_round_of_cancels_two_lists_and_the_last_fills(bench: RunnerBench) -> None:
    bench.venue.rest(*(open_order(str(number)) for number in range(3)))
    bench.knows("0", "1", "2")
    outcome = bench.stop_and_clean_up()
    assert bench.venue.names() == [*["cancel"] * 3, *["open_orders"] * 2, "fills"]
    assert outcome.is_clean
    assert set(outcome.cancelled_order_ids) == {"0", "1", "2"}
    assert [each.own_orders for each in outcome.last_lists] == [(), ()]
    assert (outcome.orders_left, outcome.orders_kept, outcome.problem) == ((), (), "")
    assert (outcome.had_unresolved, outcome.fence_ms, outcome.reason) == (False, 0, "tested")
    assert bench.phase is Phase.STOPPED
    assert read_receipt(bench.record.outcome) == outcome


def test_orders_that_no_iteration_knew_are_found_on_the_list(bench: RunnerBench) -> None:
    bench.venue.rest(open_order("5"))
    outcome = bench.stop_and_clean_up()
    assert bench.venue.names() == ["open_orders", "cancel", "open_orders", "open_orders", "fills"]
    assert (outcome.is_clean, outcome.cancelled_order_ids) == (True, ("5",))


def test_known_orders_are_cancelled_even_if_the_list_does_not_show_them(bench: RunnerBench) -> None:
    bench.venue.rest(open_order("hidden"))
    bench.venue.always["open_orders"] = lambda _: ()
    bench.knows("hidden")
    assert bench.stop_and_clean_up().is_clean
    assert bench.venue.resting == {}


def test_a_known_order_whose_cancel_is_uncertain_is_cancelled_again_though_no_list_shows_it(
    bench: RunnerBench,
) -> None:
    bench.venue.rest(open_order("hidden"))
    bench.venue.always["open_orders"] = lambda _: ()
    bench.venue.faults["cancel"] += [OutcomeUnknown("no answer"), lambda _: CancelOutcome.ACCEPTED]
    bench.knows("hidden")
    assert bench.stop_and_clean_up().is_clean
    assert bench.venue.about("cancel") == ["hidden"] * 3
    assert bench.venue.resting == {}


def test_a_cancel_that_is_refused_for_good_is_no_reason_never_to_end_where_no_list_shows_the_order(
    bench: RunnerBench,
) -> None:
    bench.venue.always["cancel"] = Refused("not this one", code="INVALID_ORDER", status=400)
    bench.knows("gone")
    assert bench.stop_and_clean_up().is_clean
    assert bench.venue.about("cancel") == ["gone"] * (REFUSALS_BELIEVED + 1)


def test_a_cancel_that_came_too_late_is_repeated_however_often(bench: RunnerBench) -> None:
    bench.venue.rest(open_order("hidden"))
    bench.venue.always["open_orders"] = lambda _: ()
    bench.venue.faults["cancel"] += [RequestExpired("Request has expired")] * (REFUSALS_BELIEVED + 1)
    bench.knows("hidden")
    assert bench.stop_and_clean_up().is_clean
    assert bench.venue.resting == {}


def test_an_order_that_shows_up_between_two_lists_makes_them_start_again(bench: RunnerBench) -> None:
    def show_up(_: str) -> tuple[OpenOrder, ...]:
        bench.venue.rest(open_order("late"))
        return tuple(bench.venue.resting.values())

    bench.venue.faults["open_orders"] += [lambda _: (), show_up]
    assert bench.stop_and_clean_up().is_clean
    assert bench.venue.names() == [*["open_orders"] * 2, "cancel", *["open_orders"] * 2, "fills"]


@pytest.mark.parametrize(
    "error", [Unavailable("down"), Refused("no"), RateLimited("slow", retry_after_s=0.01)]
)
def test_a_list_that_fails_is_asked_for_again_never_taken_as_empty(
    bench: RunnerBench, error: Exception
) -> None:
    bench.venue.rest(open_order("5"))
    bench.venue.faults["open_orders"] += [error, error]
    assert bench.stop_and_clean_up().is_clean
    assert bench.venue.names() == [*["open_orders"] * 3, "cancel", *["open_orders"] * 2, "fills"]


def test_a_list_that_fails_between_two_empty_ones_does_not_count(bench: RunnerBench) -> None:
    bench.venue.faults["open_orders"] += [lambda _: (), Unavailable("down"), lambda _: ()]
    assert bench.stop_and_clean_up().is_clean
    assert bench.venue.names("open_orders") == ["open_orders"] * 3


def test_a_cancel_that_was_only_accepted_is_followed_until_the_order_is_gone(bench: RunnerBench) -> None:
    bench.venue.rest(open_order("5"))
    bench.venue.faults["cancel"] += [lambda _: CancelOutcome.ACCEPTED] * 3
    bench.knows("5")
    assert bench.stop_and_clean_up().is_clean
    assert bench.venue.about("cancel") == ["5"] * 4
    assert bench.venue.resting == {}


@pytest.mark.parametrize("error", [OutcomeUnknown("no answer"), Unavailable("down"), RateLimited("slow")])
def test_a_cancel_without_an_answer_is_repeated(bench: RunnerBench, error: Exception) -> None:
    bench.venue.rest(open_order("5"))
    bench.venue.faults["cancel"] += [error, error]
    bench.knows("5")
    assert bench.stop_and_clean_up().is_clean
    assert bench.venue.about("cancel") == ["5"] * 3


def foreign_orders() -> tuple[OpenOrder, ...]:
    """Return orders of another instance, of a human, and of a program with small ids of its own."""
    programs = replace(open_order("a program's"), client_order_id=42)
    return (open_order("another instance's", slot=SLOT + 1), open_order("a human's", slot=None), programs)


def test_orders_of_others_are_neither_cancelled_nor_counted(bench: RunnerBench) -> None:
    foreign = foreign_orders()
    bench.venue.rest(open_order("ours"), *foreign)
    outcome = bench.stop_and_clean_up()
    assert outcome.is_clean
    assert bench.venue.about("cancel") == ["ours"]
    assert bench.venue.names("cancel_all") == []
    assert tuple(bench.venue.resting.values()) == foreign


def test_on_an_exclusive_symbol_everything_goes_with_one_request(make: Callable[..., RunnerBench]) -> None:
    bench = make(exclusive_symbol=True)
    bench.venue.rest(*(open_order(str(number)) for number in range(30)))
    bench.knows(*(str(number) for number in range(30)))
    assert bench.stop_and_clean_up().is_clean
    assert bench.venue.names() == ["cancel_all", "open_orders", "open_orders", "fills"]


def test_a_cancel_all_that_fails_leaves_the_work_to_single_cancels(make: Callable[..., RunnerBench]) -> None:
    bench = make(exclusive_symbol=True)
    bench.venue.rest(open_order("5"))
    bench.venue.faults["cancel_all"].append(OutcomeUnknown("no answer"))
    assert bench.stop_and_clean_up().is_clean
    assert bench.venue.about("cancel") == ["5"]


def test_a_policy_that_keeps_orders_cancels_nothing_and_lists_what_stays(bench: RunnerBench) -> None:
    foreign = foreign_orders()
    bench.venue.rest(open_order("5"), *foreign)
    bench.knows("5")
    outcome = bench.stop_and_clean_up(StopPolicy(cancel_orders=False))
    assert (outcome.is_clean, bench.phase) == (True, Phase.STOPPED)
    assert bench.venue.names("cancel", "cancel_all") == []
    assert [order.order_id for order in outcome.orders_kept] == ["5"]
    assert outcome.orders_left is None


def test_orders_that_do_not_go_are_named_and_another_attempt_is_due(make: Callable[..., RunnerBench]) -> None:
    bench = make(cleanup_soft_limit_s=0.2)
    bench.venue.rest(open_order("5"), *foreign_orders())
    bench.venue.always["cancel"] = lambda _: CancelOutcome.ACCEPTED
    asked_ms = bench.context.instances.now_ms()
    outcome = bench.stop_and_clean_up()
    assert outcome.result is Result.ORDERS_LEFT
    assert outcome.orders_left is not None
    assert [(left.order_id, left.client_order_id) for left in outcome.orders_left] == [
        ("5", client_order_id())
    ]
    assert "out of time" in outcome.problem
    assert bench.phase is Phase.STOPPING
    due_ms = bench.client.zscore(keys.DUE, INSTANCE_ID)
    assert due_ms is not None
    assert asked_ms < due_ms <= bench.context.instances.now_ms() + FIRST_RETRY_MS
    bench.venue.always.clear()
    again = bench.clean_up()
    assert again is not None
    assert (again.is_clean, again.attempt) == (True, 2)


def test_an_exchange_that_never_answers_leaves_the_outcome_unverified(
    make: Callable[..., RunnerBench],
) -> None:
    bench = make(cleanup_soft_limit_s=0.2)
    bench.venue.always["open_orders"] = Unavailable("down")
    outcome = bench.stop_and_clean_up()
    assert (outcome.result, outcome.orders_left) == (Result.UNVERIFIED, None)
    assert bench.phase is Phase.STOPPING


def test_attempts_that_do_not_end_clean_make_the_instance_failed_but_go_on(
    make: Callable[..., RunnerBench], monkeypatch: pytest.MonkeyPatch
) -> None:
    let_only_attempts_count(monkeypatch)
    bench = make(cleanup_soft_limit_s=0.5)
    bench.venue.always["open_orders"] = Unavailable("down")
    bench.stop()
    phases = []
    for _ in range(ATTEMPTS_UNTIL_FAILED):
        bench.clean_up()
        phases.append(bench.phase)
    assert phases == [Phase.STOPPING] * (ATTEMPTS_UNTIL_FAILED - 1) + [Phase.FAILED]
    assert bench.client.zscore(keys.DUE, INSTANCE_ID) is not None
    bench.venue.always.clear()
    outcome = bench.clean_up()
    assert outcome is not None
    assert outcome.is_clean
    assert bench.phase is Phase.STOPPED


@pytest.mark.parametrize(
    "error", [ValueError("bad answer"), SoftTimeLimitExceeded(), KeyError("field"), AssertionError("bug")]
)
@pytest.mark.parametrize("call", ["open_orders", "cancel"])
def test_an_error_of_any_kind_is_recorded_and_never_called_clean(
    bench: RunnerBench, call: str, error: Exception
) -> None:
    bench.venue.rest(open_order("5"))
    bench.venue.always[call] = error
    outcome = bench.stop_and_clean_up()
    assert outcome.result is (Result.UNVERIFIED if call == "open_orders" else Result.ORDERS_LEFT)
    assert outcome.problem.startswith(type(error).__name__)
    assert read_receipt(bench.record.outcome) == outcome
    assert bench.phase is Phase.STOPPING


@pytest.mark.parametrize("who", ["somebody else", "nobody"])
def test_who_has_lost_the_lease_touches_nothing_more_and_reports_nothing(
    bench: RunnerBench, who: str
) -> None:
    def lose_it(_: str) -> tuple[OpenOrder, ...]:
        if who == "nobody":
            bench.set_field("cleanup_until", 0)
        else:
            bench.set_field("cleanup_token", who)
        return tuple(bench.venue.resting.values())

    bench.venue.rest(open_order("5"))
    bench.venue.faults["open_orders"].append(lose_it)
    bench.stop()
    assert bench.clean_up() is None
    assert bench.venue.names() == ["open_orders"]
    assert (bench.phase, bench.record.outcome) == (Phase.STOPPING, "")


def test_many_slow_cancels_do_not_cost_the_lease(bench: RunnerBench) -> None:
    sent: list[str] = []

    def cancel(order_id: str) -> CancelOutcome:
        sent.append(order_id)
        del bench.venue.resting[order_id]
        return CancelOutcome.CANCELLED

    names = [str(number) for number in range(3 * MOST_AT_ONCE)]
    bench.venue.rest(*(open_order(name) for name in names))
    bench.venue.always["cancel"] = cancel
    bench.knows(*names)
    renewals: list[int] = []
    renew = bench.context.cleanup_leases.renew

    def count(*args: object, **kwargs: object) -> object:
        renewals.append(len(sent))
        return renew(*args, **kwargs)  # type: ignore[arg-type]

    bench.context.cleanup_leases.renew = count  # type: ignore[method-assign, assignment]
    assert bench.stop_and_clean_up().is_clean
    assert renewals[:2] == [MOST_AT_ONCE, 2 * MOST_AT_ONCE]


def test_a_cleanup_that_somebody_else_runs_is_left_to_them(bench: RunnerBench) -> None:
    bench.stop()
    bench.context.cleanup_leases.claim(INSTANCE_ID, epoch=1, by="somebody else")
    assert bench.clean_up() is None
    assert bench.venue.calls == []


def test_a_running_instance_is_not_cleaned_up(bench: RunnerBench) -> None:
    assert bench.clean_up() is None
    assert bench.venue.calls == []


def test_every_step_can_be_followed_as_it_happens(bench: RunnerBench) -> None:
    outcome = bench.stop_and_clean_up()
    steps = [step.step for step in outcome.steps]
    assert steps == ["cancels_sent", "iteration_released", "fence_passed", "orders_cancelled", "verified"]
    events = bench.context.events.of_instance(INSTANCE_ID)
    assert [event.fields["step"] for event in events if event.event == "cleanup_step"] == steps

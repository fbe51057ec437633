"""Leases, authorisations and commits on a real server, rule by rule as the design's table says."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from market.orders import Role
from state import keys
from state.client_ids import decode
from state.instances import Instances, Phase, Record, StopPolicy
from state.leases import (
    EARLY_MS,
    AuthorizationRefused,
    CleanupLease,
    Committed,
    Lease,
    LeaseLost,
    Leases,
    Refusal,
)
from tests.store_clock import START_MS, StoreClock

NAME = "mm_01"
LEASE_MS = 2_000
GRACE_MS = 500
WINDOW_MS = 5_000
MARGIN_MS = 1_000
INTERVAL_MS = 10_000


class Bench:
    """A started instance, and the operations with what the tests do not care about filled in."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client
        self.clock = StoreClock(client)
        self.instances = Instances(client, self.clock.scripts)
        self.leases = Leases(
            client,
            self.clock.scripts,
            lease_ms=LEASE_MS,
            cleanup_lease_ms=3_000,
            grace_ms=GRACE_MS,
            fence_margin_ms=MARGIN_MS,
        )
        self.start()

    @property
    def record(self) -> Record:
        """Return the instance's record."""
        record = self.instances.read(NAME)
        assert record is not None
        return record

    def due_score(self) -> int | None:
        """Return when a sweep has to look at the instance."""
        score = self.client.zscore(keys.DUE, NAME)
        return None if score is None else int(score)

    def start(self, *, force: bool = False) -> int:
        """Begin a run and return its epoch."""
        result = self.instances.start(
            NAME, config_version="v1", config_json="{}", slot=7, account="acc", by="test", force=force
        )
        return result.epoch

    def stop(self) -> None:
        """Close the gate."""
        self.instances.request_stop(NAME, by="test", reason="test", policy=StopPolicy())

    def try_claim(self, *, tick: int | None, epoch: int = 1, task_id: str = "task") -> Lease | Refusal:
        """Ask for the iteration lease."""
        return self.leases.claim(NAME, epoch=epoch, tick=tick, task_id=task_id)

    def claim(self, tick: int | None = 0, *, epoch: int = 1) -> Lease:
        """Take the iteration lease."""
        claimed = self.try_claim(tick=tick, epoch=epoch)
        assert isinstance(claimed, Lease), claimed
        return claimed

    def authorize(self, lease: Lease, *, window_ms: int = WINDOW_MS) -> int:
        """Authorise one order and return the time of it."""
        return self.leases.authorize(lease, window_ms=window_ms, orders=[(0, Role.QUOTE)]).at_ms

    def commit(self, lease: Lease, *, resolved: bool = True, error: str = "", delay_ms: int = 0) -> Committed:
        """End an iteration."""
        return self.leases.commit(
            lease,
            resolved=resolved,
            state_json="",
            interval_ms=INTERVAL_MS,
            next_task_id="next",
            error=error,
            error_delay_ms=delay_ms,
        )

    def iterate(self, tick: int | None = 0) -> Committed:
        """Claim and commit."""
        return self.commit(self.claim(tick))


@pytest.fixture
def bench(redis_client: redis.Redis) -> Bench:
    """A running instance at tick 0, due now."""
    return Bench(redis_client)


def test_a_claim_takes_the_lease_and_says_what_the_run_is(bench: Bench) -> None:
    bench.clock.advance(30)
    lease = bench.claim()
    assert (lease.epoch, lease.tick, lease.seq, lease.errors) == (1, 0, 1, 0)
    assert (lease.slot, lease.account, lease.config_version, lease.state_json) == (7, "acc", "v1", "")
    assert lease.claimed_at_ms == START_MS + 30
    assert lease.due_at_ms == lease.started_at_ms == START_MS
    assert bench.record.lease_until_ms == lease.claimed_at_ms + LEASE_MS


@pytest.mark.parametrize(
    ("epoch", "tick", "why"), [(0, 0, "epoch"), (2, 0, "epoch"), (1, 1, "tick"), (2, None, "epoch")]
)
def test_a_message_of_another_run_or_tick_is_stale(
    bench: Bench, epoch: int, tick: int | None, why: str
) -> None:
    assert bench.try_claim(epoch=epoch, tick=tick) == Refusal(reason="stale", detail=why)
    assert bench.record.seq == 0


def test_a_message_that_comes_again_after_its_iteration_is_stale(bench: Bench) -> None:
    bench.iterate(0)
    assert bench.try_claim(tick=0) == Refusal(reason="stale", detail="tick")


@pytest.mark.parametrize("tick", [0, None])
def test_a_live_lease_refuses_everybody_else_until_it_is_over(bench: Bench, tick: int | None) -> None:
    bench.claim()
    bench.clock.advance(LEASE_MS - 1)
    assert bench.try_claim(tick=tick) == Refusal(reason="busy")
    bench.clock.advance(1)
    assert bench.claim(tick).seq == 2


def test_a_lease_that_is_over_authorises_nothing_even_if_nobody_took_it(bench: Bench) -> None:
    lease = bench.claim()
    bench.clock.advance(LEASE_MS)
    with pytest.raises(AuthorizationRefused, match="lease over"):
        bench.authorize(lease)


def test_who_was_taken_over_can_neither_authorise_nor_commit(bench: Bench) -> None:
    old = bench.claim()
    bench.clock.advance(LEASE_MS)
    new = bench.claim()
    with pytest.raises(AuthorizationRefused, match="token"):
        bench.authorize(old)
    before = bench.record
    with pytest.raises(LeaseLost):
        bench.commit(old)
    assert bench.record == before
    bench.authorize(new)


def test_a_scheduled_iteration_leads_to_the_next_at_a_fixed_rate(bench: Bench) -> None:
    lease = bench.claim()
    bench.clock.advance(1_500)
    assert bench.commit(lease) == Committed(
        running=True, epoch=1, tick=1, countdown_ms=INTERVAL_MS - 1_500, task_id="next"
    )
    assert (bench.record.tick, bench.record.due_at_ms) == (1, START_MS + INTERVAL_MS)


def test_iterations_that_were_missed_are_not_made_up_for(bench: Bench) -> None:
    bench.clock.advance(5 * INTERVAL_MS)
    assert bench.iterate(0).countdown_ms == INTERVAL_MS
    assert bench.record.tick == 1


def test_a_message_that_comes_early_is_told_how_long_to_wait(bench: Bench) -> None:
    bench.iterate(0)
    bench.clock.advance(3_000)
    assert bench.try_claim(tick=1) == Refusal(reason="early", wait_ms=INTERVAL_MS - 3_000)
    assert bench.record.seq == 1


def test_a_message_only_a_little_early_is_run(bench: Bench) -> None:
    bench.iterate(0)
    bench.clock.advance(INTERVAL_MS - EARLY_MS)
    bench.claim(1)


def test_a_hop_that_meets_a_wake_up_goes_on_hopping(bench: Bench) -> None:
    bench.iterate(0)
    bench.clock.advance(3_000)
    wake_up = bench.claim(None)
    assert bench.try_claim(tick=1) == Refusal(reason="early", wait_ms=INTERVAL_MS - 3_000)
    assert not bench.commit(wake_up).wake_up


def test_a_wake_up_leaves_the_scheduled_message_alone(bench: Bench) -> None:
    bench.iterate(0)
    bench.clock.advance(3_000)
    committed = bench.iterate(None)
    assert committed == Committed(running=True, epoch=1, tick=1, countdown_ms=None, task_id="next")
    assert bench.due_score() == START_MS + INTERVAL_MS + GRACE_MS


def test_a_wake_up_during_which_the_schedule_came_due_sends_that_message_again(bench: Bench) -> None:
    bench.iterate(0)
    bench.clock.advance(INTERVAL_MS - 1_000)
    wake_up = bench.claim(None)
    bench.clock.advance(1_000)
    assert bench.try_claim(tick=1) == Refusal(reason="busy")
    committed = bench.commit(wake_up)
    assert (committed.tick, committed.countdown_ms, committed.wake_up) == (1, 0, False)
    bench.claim(1)


@pytest.mark.parametrize("tick", [0, None])
def test_who_came_while_the_lease_was_held_is_answered_by_one_wake_up(bench: Bench, tick: int | None) -> None:
    lease = bench.claim()
    for _ in range(3):
        bench.try_claim(tick=tick)
    assert bench.commit(lease).wake_up
    assert not bench.iterate(None).wake_up


def test_an_error_is_counted_and_makes_the_next_iteration_wait(bench: Bench) -> None:
    committed = bench.commit(bench.claim(0), error="boom", delay_ms=25_000)
    assert (committed.errors, committed.countdown_ms) == (1, 25_000)
    assert (bench.record.errors, bench.record.last_error) == (1, "boom")
    bench.clock.advance(25_000)
    assert bench.claim(1).errors == 1


def test_a_delay_shorter_than_the_interval_changes_nothing(bench: Bench) -> None:
    assert bench.commit(bench.claim(0), error="boom", delay_ms=1_000).countdown_ms == INTERVAL_MS


def test_a_wake_up_must_not_undercut_the_wait_after_an_error(bench: Bench) -> None:
    lease = bench.claim(0)
    bench.try_claim(tick=None)
    assert not bench.commit(lease, error="boom", delay_ms=25_000).wake_up


def test_a_failed_wake_up_makes_the_schedule_that_came_due_wait(bench: Bench) -> None:
    wake_up = bench.claim(None)
    bench.clock.advance(1_000)
    assert bench.commit(wake_up, error="boom", delay_ms=4_000).countdown_ms == 4_000
    assert bench.record.due_at_ms == START_MS + 5_000


def test_a_success_ends_the_row_of_errors(bench: Bench) -> None:
    for tick in range(3):
        committed = bench.commit(bench.claim(tick), error="boom")
        bench.clock.advance(INTERVAL_MS)
        assert committed.errors == tick + 1
    assert bench.iterate(3).errors == 0


def test_state_and_order_ids_are_kept_until_new_ones_come(bench: Bench) -> None:
    def commit(lease: Lease, state_json: str, order_ids: list[str] | None) -> None:
        bench.leases.commit(
            lease,
            resolved=True,
            state_json=state_json,
            interval_ms=0,
            next_task_id="n",
            order_ids=order_ids,
        )

    commit(bench.claim(0), '{"a":1}', ["11", "12"])
    assert bench.claim(1).state_json == '{"a":1}'
    bench.clock.advance(LEASE_MS)
    commit(bench.claim(1), "", None)
    bench.stop()
    cleanup = claim_cleanup(bench)
    assert cleanup.order_ids == ("11", "12")
    assert bench.client.hget(keys.record(NAME), "state") == '{"a":1}'


def test_an_iteration_that_ends_without_open_orders_leaves_no_ids(bench: Bench) -> None:
    bench.leases.commit(
        bench.claim(0), resolved=True, state_json="", interval_ms=0, next_task_id="n", order_ids=[]
    )
    bench.stop()
    assert claim_cleanup(bench).order_ids == ()


def test_an_authorisation_moves_the_fence_behind_window_and_margin(bench: Bench) -> None:
    lease = bench.claim()
    bench.clock.advance(40)
    at_ms = bench.authorize(lease)
    assert at_ms == START_MS + 40
    assert bench.record.fence_ms == at_ms + WINDOW_MS + MARGIN_MS


def test_a_shorter_window_never_pulls_the_fence_back(bench: Bench) -> None:
    lease = bench.claim()
    at_ms = bench.authorize(lease)
    bench.authorize(lease, window_ms=1)
    assert bench.record.fence_ms == at_ms + WINDOW_MS + MARGIN_MS


def test_client_order_ids_are_new_each_time_and_carry_slot_level_and_role(bench: Bench) -> None:
    lease = bench.claim()
    orders = [(0, Role.QUOTE), (3, Role.CLOSE), (0, Role.QUOTE)]
    granted = [bench.leases.authorize(lease, window_ms=1, orders=orders) for _ in range(2)]
    ids = [number for each in granted for number in each.client_order_ids]
    assert len(set(ids)) == len(ids)
    parts = [decode(number) for number in ids]
    assert [(part.level, part.role) for part in parts] == orders * 2
    assert {part.slot for part in parts} == {7}
    assert [part.generation for part in parts] == [1, 1, 2, 3, 2, 4]


def test_generations_come_round_without_touching_the_level(bench: Bench) -> None:
    bench.client.hset(keys.generations(NAME), "5:0", 1023)
    granted = bench.leases.authorize(bench.claim(), window_ms=1, orders=[(5, Role.QUOTE)])
    (part,) = (decode(number) for number in granted.client_order_ids)
    assert (part.level, part.generation) == (5, 0)


def test_an_iteration_whose_requests_were_all_answered_leaves_no_fence(bench: Bench) -> None:
    lease = bench.claim()
    bench.authorize(lease)
    bench.commit(lease)
    assert bench.record.fence_ms == 0


def test_an_unanswered_request_leaves_the_fence(bench: Bench) -> None:
    lease = bench.claim()
    at_ms = bench.authorize(lease)
    bench.commit(lease, resolved=False)
    assert bench.record.fence_ms == at_ms + WINDOW_MS + MARGIN_MS


def test_a_later_iteration_goes_back_to_the_fence_of_an_unanswered_request_not_to_zero(bench: Bench) -> None:
    first = bench.claim()
    at_ms = bench.authorize(first)
    bench.commit(first, resolved=False)
    bench.clock.advance(1_000)
    second = bench.claim(None)
    bench.authorize(second)
    bench.commit(second)
    assert bench.record.fence_ms == at_ms + WINDOW_MS + MARGIN_MS


def test_who_takes_over_a_dead_iteration_keeps_its_fence(bench: Bench) -> None:
    at_ms = bench.authorize(bench.claim())
    bench.clock.advance(LEASE_MS)
    new = bench.claim()
    bench.authorize(new)
    bench.commit(new)
    assert bench.record.fence_ms == at_ms + WINDOW_MS + MARGIN_MS


def test_after_a_stop_was_requested_nothing_is_authorised(bench: Bench) -> None:
    lease = bench.claim()
    bench.authorize(lease)
    bench.stop()
    with pytest.raises(AuthorizationRefused, match="phase"):
        bench.authorize(lease)
    assert bench.client.get(keys.stop(NAME)) == "test"


def test_the_stop_key_alone_closes_the_gate(bench: Bench) -> None:
    lease = bench.claim()
    bench.client.set(keys.stop(NAME), "by hand")
    with pytest.raises(AuthorizationRefused, match="stop"):
        bench.authorize(lease)


def test_after_a_stop_was_requested_nothing_is_claimed_and_a_commit_publishes_nothing(bench: Bench) -> None:
    lease = bench.claim()
    bench.stop()
    assert bench.try_claim(tick=None) == Refusal(reason="stale", detail="phase")
    assert bench.commit(lease) == Committed(running=False)


def claim_cleanup(bench: Bench, *, epoch: int = 1) -> CleanupLease:
    """Take the cleanup lease."""
    claimed = bench.leases.claim_cleanup(NAME, epoch=epoch, by="test")
    assert isinstance(claimed, CleanupLease), claimed
    return claimed


def test_wait_released_returns_as_soon_as_the_iteration_ends(bench: Bench) -> None:
    lease = bench.claim()
    bench.stop()
    cleanup = claim_cleanup(bench)
    bench.commit(lease)
    # With nothing there this would wait for ever, and the test's own time limit would end it.
    bench.leases.wait_released(cleanup, timeout_s=0)


def test_a_new_run_is_not_woken_by_the_end_of_an_old_one(bench: Bench) -> None:
    lease = bench.claim()
    bench.stop()
    bench.commit(lease)
    bench.leases.finish(
        claim_cleanup(bench), clean=True, outcome_json="", retry_after_ms=1, attempts_until_failed=3
    )
    bench.start()
    assert not bench.client.exists(keys.released(NAME))


def test_a_run_that_follows_begins_anew(bench: Bench) -> None:
    bench.commit(bench.claim(0), error="boom")
    bench.stop()
    bench.leases.finish(
        claim_cleanup(bench), clean=True, outcome_json="{}", retry_after_ms=1, attempts_until_failed=3
    )
    assert bench.start() == 2
    record = bench.record
    assert (record.tick, record.seq, record.errors, record.outcome) == (0, 0, 0, "")
    assert bench.try_claim(epoch=1, tick=0) == Refusal(reason="stale", detail="epoch")
    assert bench.claim(0, epoch=2).seq == 1


def test_a_forced_start_keeps_the_fence_of_the_failed_run(bench: Bench) -> None:
    at_ms = bench.authorize(bench.claim())
    bench.stop()
    bench.leases.finish(
        claim_cleanup(bench), clean=False, outcome_json="", retry_after_ms=1, attempts_until_failed=1
    )
    bench.start(force=True)
    assert bench.record.phase is Phase.RUNNING
    assert bench.record.fence_ms == at_ms + WINDOW_MS + MARGIN_MS


@pytest.mark.parametrize(
    ("do", "score_ms"),
    [
        (lambda bench: None, 0),
        (lambda bench: bench.claim(0), LEASE_MS + GRACE_MS),
        (lambda bench: bench.iterate(0), INTERVAL_MS + GRACE_MS),
        (lambda bench: bench.commit(bench.claim(0), error="e", delay_ms=60_000), 60_000 + GRACE_MS),
        (lambda bench: bench.stop(), 0),
    ],
    ids=["start", "claim", "commit", "commit after an error", "request_stop"],
)
def test_each_operation_says_when_a_sweep_has_to_look_again(
    bench: Bench, do: Callable[[Bench], object], score_ms: int
) -> None:
    do(bench)
    assert bench.due_score() == START_MS + score_ms

"""What a cleanup is told when it begins, also by the record of an older version, and what it may send."""

from __future__ import annotations

import json

import pytest
import redis

from market.orders import Role
from state import keys
from state.client_ids import decode, generation_field
from state.durability import Keeps
from state.permissions import AuthorizationRefused
from state.stop_policy import StopPolicy
from tests.integration.state_bench import (
    CLEANUP_LEASE_MS,
    GRACE_MS,
    LEASE_MS,
    MARGIN_MS,
    NAME,
    WINDOW_MS,
    StateBench,
)

RECORD = keys.record(NAME)
LEASE_FIELDS = ["lease_token", "lease_until", "lease_kind", "running_task_id"]


def test_everything_that_is_known_is_told(bench: StateBench) -> None:
    iteration = bench.claim()
    bench.commit(iteration, order_ids=["3", "4"])
    bench.clock.advance(5)
    bench.stop()
    bench.client.hset(RECORD, mapping={"outcome": "receipt", "cleanup_fence_base": 1, "resends": 3})
    bench.clock.advance(5)
    lease = bench.claim_cleanup()
    now_ms = bench.clock.now_ms
    assert (lease.claimed_at_ms, lease.started_at_ms, lease.attempt) == (now_ms, now_ms - 10, 1)
    assert (lease.config_version, lease.receipt_json) == ("v1", "receipt")
    assert lease.order_ids == ("3", "4")
    assert (lease.is_failed, lease.flight, lease.knows_flight) == (False, None, True)
    assert [(each.by, each.reason, each.at_ms) for each in lease.asked] == [("test", "test", now_ms - 5)]
    assert bench.client.hget(RECORD, "cleanup_fence_base") is None
    assert bench.client.hget(RECORD, "resends") == "0"
    assert bench.due_score() == now_ms + CLEANUP_LEASE_MS + GRACE_MS
    event = bench.events.of_instance(NAME)[-1]
    assert (event.event, event.epoch, event.at_ms) == ("cleanup_claimed", 1, now_ms)
    assert (event.fields["attempt"], event.fields["by"]) == ("1", "test")


@pytest.mark.parametrize("paused_at_ms", [None, 5])
def test_a_run_that_was_paused_is_told_as_one(bench: StateBench, paused_at_ms: int | None) -> None:
    bench.stop()
    if paused_at_ms is not None:
        bench.client.hset(RECORD, "paused", paused_at_ms)
    assert bench.claim_cleanup().paused_at_ms == paused_at_ms


def test_the_iteration_in_flight_is_told(bench: StateBench) -> None:
    bench.claim()
    bench.stop()
    flight = bench.claim_cleanup().flight
    assert flight is not None
    assert (flight.seq, flight.tick, flight.task_id) == (1, 0, "its-task")


def test_a_record_with_next_to_nothing_in_it_can_be_cleaned_up(bench: StateBench) -> None:
    bench.stop()
    kept = ("phase", "epoch", "keeps", "server")
    gone = [name for name in bench.client.hkeys(RECORD) if name not in kept]
    bench.client.hdel(RECORD, *gone)
    bench.clock.advance(5)
    lease = bench.claim_cleanup()
    assert (lease.slot, lease.account, lease.config_version) == (0, "", "")
    assert (lease.order_ids, lease.started_at_ms, lease.receipt_json) == ((), 0, "")
    (asked,) = lease.asked
    assert (asked.by, asked.reason, asked.at_ms) == ("", "", bench.clock.now_ms)
    assert asked.policy == StopPolicy() == lease.policy
    assert not lease.knows_flight


@pytest.mark.parametrize("story", [None, "", "{", "7", '"text"', "{}", '{"at_ms":"x"}', '{"at_ms":1}'])
def test_a_story_of_a_stop_before_this_one_is_not_believed(bench: StateBench, story: str | None) -> None:
    bench.claim()
    policy = StopPolicy(close_position=True)
    bench.stop(policy)
    if story is None:
        bench.client.hdel(RECORD, "asked")
    else:
        bench.client.hset(RECORD, "asked", story)
    at_ms = bench.clock.now_ms
    bench.clock.advance(5)
    lease = bench.claim_cleanup()
    assert [(each.by, each.reason, each.at_ms, each.policy) for each in lease.asked] == [
        ("test", "test", at_ms, policy)
    ]
    assert (lease.flight, lease.knows_flight) == (None, False)


@pytest.mark.parametrize("requested_at_ms", ["99", "100", None])
def test_the_last_line_of_the_story_tells_whether_it_is_of_this_stop(
    bench: StateBench, requested_at_ms: str | None
) -> None:
    bench.claim()
    bench.stop()
    lines = [
        {"by": name, "reason": "", "at_ms": at_ms, "policy": {}} for name, at_ms in (("one", 7), ("two", 100))
    ]
    bench.client.hset(RECORD, "asked", "\n".join(map(json.dumps, lines)))
    if requested_at_ms is None:
        bench.client.hdel(RECORD, "stop_requested_at")
    else:
        bench.client.hset(RECORD, "stop_requested_at", requested_at_ms)
    lease = bench.claim_cleanup()
    assert [each.by for each in lease.asked] == ["one", "two"]
    assert lease.knows_flight


def test_a_flight_that_nobody_wrote_down_is_not_known(bench: StateBench) -> None:
    bench.stop()
    bench.client.hdel(RECORD, "flight")
    assert not bench.claim_cleanup().knows_flight


@pytest.mark.parametrize(("before_end_ms", "is_refused"), [(1, True), (0, False)])
def test_nothing_is_closed_until_the_last_moment_of_an_iterations_lease(
    bench: StateBench, before_end_ms: int, is_refused: bool
) -> None:
    bench.claim()
    bench.stop()
    bench.clock.advance(LEASE_MS - before_end_ms)
    lease = bench.claim_cleanup()
    if is_refused:
        with pytest.raises(AuthorizationRefused, match="in flight"):
            bench.close(lease)
    else:
        bench.close(lease)


def test_each_order_that_closes_has_an_id_of_its_own_and_is_written_down(bench: StateBench) -> None:
    field = generation_field(0, Role.CLEANUP)
    bench.stop()
    lease = bench.claim_cleanup()
    bench.client.hset(keys.generations(NAME), field, 1_022)
    found = []
    for _ in range(2):
        bench.clock.advance(3)
        granted = bench.cleanup_leases.authorize(
            lease, window_ms=WINDOW_MS, orders=[(0, Role.CLEANUP), (1, Role.CLEANUP)]
        )
        assert granted.at_ms == bench.clock.now_ms
        found += [(number, granted.at_ms) for number in granted.client_order_ids]
    ids = [decode(number) for number, _ in found]
    assert [(each.level, each.generation) for each in ids] == [(0, 1_023), (1, 1), (0, 0), (1, 2)]
    assert bench.instances.run_data(NAME, lease.slot).intents == dict(found)
    assert bench.record.fence_ms == bench.clock.now_ms + WINDOW_MS + MARGIN_MS


def test_the_ids_of_closing_orders_leave_out_what_a_restart_may_have_lost(redis_client: redis.Redis) -> None:
    bench = StateBench(redis_client, Keeps.ALWAYS)
    bench.client.hset(keys.generations(NAME), "skipped", 64)
    bench.stop()
    (number,) = bench.close(bench.claim_cleanup()).client_order_ids
    assert decode(number).generation == 65


def test_a_permission_to_close_waits_for_the_stop_to_be_on_disk(redis_client: redis.Redis) -> None:
    bench = StateBench(redis_client, Keeps.EVERYSEC)
    bench.stop()
    bench.close(bench.claim_cleanup())
    assert bench.client.hget(RECORD, "unsaved") is None


def test_an_iteration_that_never_came_back_ended_with_its_lease(bench: StateBench) -> None:
    until_ms = bench.clock.now_ms + LEASE_MS
    bench.claim()
    bench.stop()
    bench.clock.advance(LEASE_MS + 5)
    lease = bench.claim_cleanup()
    for _ in range(2):
        in_flight = bench.cleanup_leases.renew(lease)
        assert (in_flight.flight_end, in_flight.flight_ended_at_ms) == ("lease_ran_out", until_ms)
        assert bench.client.hget(RECORD, "lease_token") is None


def test_how_one_ended_is_told_by_who_saw_it_first(bench: StateBench) -> None:
    bench.claim()
    bench.stop()
    bench.client.hset(RECORD, "flight_end", "committed 5")
    bench.clock.advance(LEASE_MS)
    in_flight = bench.cleanup_leases.renew(bench.claim_cleanup())
    assert (in_flight.flight_end, in_flight.flight_ended_at_ms) == ("committed", 5)


def test_orders_that_it_knew_at_its_end_are_told(bench: StateBench) -> None:
    iteration = bench.claim()
    bench.stop()
    lease = bench.claim_cleanup()
    assert bench.cleanup_leases.renew(lease).order_ids == ()
    bench.commit(iteration, order_ids=["3", "4"])
    assert bench.cleanup_leases.renew(lease).order_ids == ("3", "4")


def test_a_lease_that_is_over_is_taken_away(bench: StateBench) -> None:
    """The guard and who lists instances look at its end alone."""
    bench.claim()
    bench.stop()
    lease = bench.claim_cleanup()
    bench.cleanup_leases.renew(lease)
    assert None not in bench.client.hmget(RECORD, LEASE_FIELDS)
    bench.clock.advance(LEASE_MS)
    bench.cleanup_leases.renew(lease)
    assert bench.client.hmget(RECORD, LEASE_FIELDS) == [None] * len(LEASE_FIELDS)


def test_a_lease_of_before_a_restart_is_taken_away_at_once(redis_client: redis.Redis) -> None:
    bench = StateBench(redis_client, Keeps.EVERYSEC)
    bench.claim()
    bench.stop()
    bench.clock.restart_server()
    bench.claim_cleanup()
    assert bench.client.hmget(RECORD, LEASE_FIELDS) == [None] * len(LEASE_FIELDS)

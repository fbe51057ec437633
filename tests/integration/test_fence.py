"""The gate on a real server: who may send orders, and the fence that each permission moves."""

from __future__ import annotations

import pytest

from market.orders import Role
from state import keys
from state.client_ids import decode
from state.leases import Committed, Refusal
from state.permissions import AuthorizationRefused
from tests.integration.state_bench import LEASE_MS, MARGIN_MS, NAME, WINDOW_MS, StateBench
from tests.store_clock import START_MS


def test_an_authorisation_moves_the_fence_behind_window_and_margin(bench: StateBench) -> None:
    lease = bench.claim()
    bench.clock.advance(40)
    granted = bench.leases.authorize(lease, window_ms=WINDOW_MS, orders=[(0, Role.QUOTE)])
    assert granted.at_ms == START_MS + 40
    assert bench.record.fence_ms == START_MS + 40 + WINDOW_MS + MARGIN_MS


def test_a_shorter_window_never_pulls_the_fence_back(bench: StateBench) -> None:
    lease = bench.claim()
    fence_ms = bench.authorize(lease)
    bench.authorize(lease, window_ms=1)
    assert bench.record.fence_ms == fence_ms


def test_client_order_ids_are_new_each_time_and_carry_slot_level_and_role(bench: StateBench) -> None:
    lease = bench.claim()
    orders = [(0, Role.QUOTE), (3, Role.CLOSE), (0, Role.QUOTE)]
    granted = [bench.leases.authorize(lease, window_ms=1, orders=orders) for _ in range(2)]
    ids = [number for each in granted for number in each.client_order_ids]
    assert len(set(ids)) == len(ids)
    parts = [decode(number) for number in ids]
    assert [(part.level, part.role) for part in parts] == orders * 2
    assert {part.slot for part in parts} == {7}
    assert [part.generation for part in parts] == [1, 1, 2, 3, 2, 4]


def test_generations_come_round_without_touching_the_level(bench: StateBench) -> None:
    bench.client.hset(keys.generations(NAME), "5:0", 1023)
    granted = bench.leases.authorize(bench.claim(), window_ms=1, orders=[(5, Role.QUOTE)])
    (part,) = (decode(number) for number in granted.client_order_ids)
    assert (part.level, part.generation) == (5, 0)


def test_an_iteration_whose_requests_were_all_answered_leaves_no_fence(bench: StateBench) -> None:
    lease = bench.claim()
    bench.authorize(lease)
    bench.commit(lease)
    assert bench.record.fence_ms == 0


def test_an_unanswered_request_leaves_the_fence(bench: StateBench) -> None:
    lease = bench.claim()
    fence_ms = bench.authorize(lease)
    bench.commit(lease, resolved=False)
    assert bench.record.fence_ms == fence_ms


def test_a_later_iteration_goes_back_to_the_fence_of_an_unanswered_request_not_to_zero(
    bench: StateBench,
) -> None:
    first = bench.claim()
    fence_ms = bench.authorize(first)
    bench.commit(first, resolved=False)
    bench.clock.advance(1_000)
    second = bench.claim(None)
    bench.authorize(second)
    bench.commit(second)
    assert bench.record.fence_ms == fence_ms


def test_who_takes_over_a_dead_iteration_keeps_its_fence(bench: StateBench) -> None:
    fence_ms = bench.authorize(bench.claim())
    bench.clock.advance(LEASE_MS)
    new = bench.claim()
    bench.authorize(new)
    bench.commit(new)
    assert bench.record.fence_ms == fence_ms


def test_after_a_stop_was_requested_nothing_is_authorised(bench: StateBench) -> None:
    lease = bench.claim()
    bench.authorize(lease)
    bench.stop()
    with pytest.raises(AuthorizationRefused, match="phase"):
        bench.authorize(lease)
    assert bench.client.get(keys.stop(NAME)) == "test"


def test_the_stop_key_alone_closes_the_gate(bench: StateBench) -> None:
    lease = bench.claim()
    bench.client.set(keys.stop(NAME), "by hand")
    with pytest.raises(AuthorizationRefused, match="stop"):
        bench.authorize(lease)


def test_after_a_stop_was_requested_nothing_is_claimed_and_a_commit_publishes_nothing(
    bench: StateBench,
) -> None:
    lease = bench.claim()
    bench.stop()
    assert bench.try_claim(tick=None) == Refusal(reason="stale", detail="phase")
    assert bench.commit(lease) == Committed(running=False)

"""What a claim puts back after the state server was another one for a moment: the exact times and numbers."""

from __future__ import annotations

import pytest
import redis

from market.orders import Role
from state import keys
from state.client_ids import ClientOrderId
from state.durability import Keeps
from state.permissions import AuthorizationRefused
from tests.integration.state_bench import INTERVAL_MS, MARGIN_MS, NAME, WINDOW_MS, StateBench

REACH_MS = WINDOW_MS + MARGIN_MS
#: How many client order ids of each level are left out.
LEFT_OUT = 64


@pytest.fixture
def bench(redis_client: redis.Redis) -> StateBench:
    """A running instance on a server with ``appendfsync everysec``, which has written its start."""
    found = StateBench(redis_client, Keeps.EVERYSEC)
    found.client.hdel(keys.record(NAME), "unsaved")
    return found


def of_levels(generations: dict[int, list[int]], at_ms: int) -> dict[int, int]:
    """Return intents of quotes: numbers by level, all given at one time."""
    return {
        ClientOrderId(slot=7, level=level, role=Role.QUOTE, generation=number).encode(): at_ms
        for level, numbers in generations.items()
        for number in numbers
    }


def test_what_was_lost_came_after_the_last_commit(bench: StateBench) -> None:
    bench.client.hset(keys.generations(NAME), "0:0", 10)
    bench.clock.advance(100)
    bench.iterate()
    committed_at_ms = bench.clock.now_ms
    bench.clock.advance(INTERVAL_MS)
    bench.clock.restart_server()
    assert bench.claim(1).intents == of_levels({0: [11, 12, 13, 14]}, committed_at_ms)


def test_or_after_the_start_of_a_run_that_has_not_committed(bench: StateBench) -> None:
    bench.client.hset(keys.generations(NAME), "0:0", 10)
    started_at_ms = bench.clock.now_ms
    bench.clock.advance(100)
    bench.clock.restart_server()
    assert bench.claim().intents == of_levels({0: [11, 12, 13, 14]}, started_at_ms)


def test_or_after_that_of_one_whose_commit_is_of_the_run_before(bench: StateBench) -> None:
    bench.iterate()
    bench.stop()
    bench.client.hdel(keys.record(NAME), "unsaved")
    assert bench.finish(bench.claim_cleanup(), clean=True) == "stopped"
    bench.clock.advance(100)
    bench.start()
    bench.client.hset(keys.generations(NAME), "0:0", 10)
    started_at_ms = bench.clock.now_ms
    bench.clock.advance(100)
    bench.clock.restart_server()
    assert bench.claim(epoch=2).intents == of_levels({0: [11, 12, 13, 14]}, started_at_ms)


def test_every_level_has_its_own_numbers_and_a_second_loss_begins_behind_the_first(bench: StateBench) -> None:
    bench.client.hset(keys.generations(NAME), mapping={"0:0": 10, "3:0": 20})
    at_ms = bench.clock.now_ms
    bench.clock.restart_server()
    first = {0: [11, 12, 13, 14], 3: [21, 22, 23, 24]}
    lease = bench.claim()
    assert lease.intents == of_levels(first, at_ms)
    assert bench.client.hget(keys.generations(NAME), "skipped") == str(LEFT_OUT)
    bench.commit(lease)
    bench.clock.restart_server()
    second = {level: [LEFT_OUT + number for number in numbers] for level, numbers in first.items()}
    assert bench.claim(None).intents == of_levels(first, at_ms) | of_levels(second, at_ms)
    assert bench.client.hget(keys.generations(NAME), "skipped") == str(2 * LEFT_OUT)


def test_numbers_come_round_there_too(bench: StateBench) -> None:
    bench.client.hset(keys.generations(NAME), "0:0", 1021)
    at_ms = bench.clock.now_ms
    bench.clock.restart_server()
    assert bench.claim().intents == of_levels({0: [1022, 1023, 0, 1]}, at_ms)


def test_a_fence_that_lies_further_ahead_stays(bench: StateBench) -> None:
    bench.client.hset(keys.generations(NAME), "0:0", 0)
    lease = bench.claim()
    fence_ms = bench.authorize(lease, window_ms=2 * WINDOW_MS)
    bench.commit(lease, resolved=False)
    bench.clock.restart_server()
    assert bench.claim(None).fence_ms == bench.record.fence_ms == fence_ms


def test_a_run_of_an_older_version_does_not_say_how_long_a_request_lives(bench: StateBench) -> None:
    """The longest window that the exchange takes, and the margin."""
    bench.client.hdel(keys.record(NAME), "reach")
    bench.clock.restart_server()
    assert bench.claim().fence_ms == bench.clock.now_ms + 61_000


@pytest.mark.parametrize(("ahead_ms", "since_ms"), [(-5, -5), (0, 0), (1, 0)])
def test_a_server_that_was_noticed_later_than_now_is_noticed_now(
    bench: StateBench, ahead_ms: int, since_ms: int
) -> None:
    """A clock that went back must not make everybody wait until it is there again."""
    bench.clock.restart_server()
    bench.iterate()
    noticed_at_ms = bench.clock.now_ms + ahead_ms
    bench.client.hset(keys.SERVER, "since", noticed_at_ms)
    bench.client.hset(keys.record(NAME), mapping={"server": "another", "fence": 0})
    assert bench.claim(None).fence_ms == bench.clock.now_ms + since_ms + REACH_MS
    assert bench.client.hget(keys.SERVER, "since") == str(bench.clock.now_ms + since_ms)


def test_a_new_level_is_written_down_and_what_waits_for_the_disk_is_told(bench: StateBench) -> None:
    lease = bench.claim()
    bench.clock.advance(7)
    reply = bench.clock.scripts.call(
        "authorize",
        [keys.record(NAME), keys.stop(NAME), keys.generations(NAME), keys.intents(NAME)],
        [lease.token, WINDOW_MS, MARGIN_MS, "0:0", "3:0"],
    )
    waits_for = f"levels {bench.clock.now_ms}"
    assert reply == ["refused", "unsaved", waits_for]
    assert bench.client.hget(keys.record(NAME), "unsaved") == waits_for
    assert bench.client.hgetall(keys.generations(NAME)) == {"0:0": "0", "3:0": "0"}


def test_one_of_an_unknown_level_does_not_wait_where_nothing_is_forgotten(redis_client: redis.Redis) -> None:
    bench = StateBench(redis_client, Keeps.ALWAYS)
    bench.authorize(bench.claim())
    assert bench.client.hget(keys.record(NAME), "unsaved") is None


def test_what_waits_for_the_disk_goes_on_doing_so_after_a_refusal(
    bench: StateBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one who asks finds the level known, and must not take it for saved."""
    lease = bench.claim()
    monkeypatch.setattr("state.permissions.save", lambda *_: False)
    for _ in range(2):
        with pytest.raises(AuthorizationRefused, match="disk"):
            bench.authorize(lease)

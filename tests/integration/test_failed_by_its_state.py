"""What is kept, given up and told of an instance that is taken for failed because of its state."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis

from state import keys
from state.durability import Keeps
from state.instances import Failed
from state.record import Phase
from state.stop_policy import StopPolicy
from tests.integration.state_bench import LEASE_MS, NAME, StateBench

RECORD = keys.record(NAME)
REACH_MS = 400
WHY = "resends is x"


def fail(bench: StateBench, **more: Any) -> Failed | None:
    """Take the instance for failed if anything is wrong with it."""
    return bench.instances.fail(NAME, **{"reach_ms": REACH_MS, **more})


def damage(bench: StateBench, **fields: str) -> None:
    """Break the record."""
    mapping: dict[Any, Any] = {"resends": "x", **fields}
    bench.client.hset(RECORD, mapping=mapping)


def asked(bench: StateBench, policy: StopPolicy, why: str) -> dict[str, Any]:
    wanted = json.loads(policy.to_json())
    return {"by": "state check", "reason": why, "at_ms": bench.clock.now_ms, "policy": wanted}


def test_what_a_cleanup_can_use_stays_and_nothing_else(bench: StateBench) -> None:
    bench.claim()
    useful: dict[str, Any] = {
        "slot": "7",
        "account": "acc",
        "reach": "900",
        "keeps": "always",
        "config_version": "v1",
        "started_at": "17",
        "books": "b",
        "state": "s",
        "daily": "d",
        "order_ids": "3",
        "strays": "1:2:3",
        "lease_token": "token",
        "lease_until": "5",
        "tick": "8",
        "seq": "9",
        "running_task_id": "t",
    }
    damage(bench, **useful, fence="1", cleanup_token="c", kept="1", outcome="of before", errors="3")
    bench.client.delete(keys.WAKE, keys.DUE, keys.INSTANCES)
    bench.clock.advance(5)
    now_ms = bench.clock.now_ms

    assert fail(bench, least_epoch=1) == Failed(epoch=1, why=WHY)

    found = bench.client.hgetall(RECORD)
    said, policy = found.pop("asked"), found.pop("stop_policy")
    fence_ms = str(now_ms + 900)
    assert found == {
        **useful,
        "phase": "failed",
        "epoch": "1",
        "fence": fence_ms,
        "fence_base": fence_ms,
        "attempts": "0",
        "resends": "0",
        "stop_by": "state check",
        "stop_reason": WHY,
        "damage": WHY,
        "server": "",
        "stop_requested_at": str(now_ms),
    }
    assert json.loads(said) == asked(bench, StopPolicy(), WHY)
    assert StopPolicy.from_json(str(policy)) == StopPolicy()
    assert bench.client.get(keys.stop(NAME)) == WHY
    assert bench.client.lrange(keys.WAKE, 0, -1) == [NAME]
    assert bench.client.smembers(keys.INSTANCES) == {NAME}
    assert bench.due_score() == now_ms
    requested, alert = bench.events.of_instance(NAME)[-2:]
    assert [(each.event, each.epoch, each.at_ms) for each in (requested, alert)] == [
        ("stop_requested", 1, now_ms),
        ("alert", 1, now_ms),
    ]
    assert (requested.fields["by"], requested.fields["reason"]) == ("state check", WHY)
    assert alert.fields["alert"] == "state_damaged"
    assert alert.fields["says"] == f"{NAME}: {WHY}; its orders are cleaned up"
    # Its ids are known.
    assert bench.client.hget(keys.generations(NAME), "skipped") is None


def test_numbers_that_cannot_be_read_are_given_up(bench: StateBench) -> None:
    damage(bench, slot="7x", reach="long", started_at="-", fence="never", lease_until="soon", lease_token="t")
    fail(bench)
    found = bench.client.hgetall(RECORD)
    assert not found.keys() & {"slot", "reach", "started_at", "lease_token", "lease_until", "tick", "seq"}
    assert found["fence"] == str(bench.clock.now_ms + REACH_MS)


@pytest.mark.parametrize("field", ["lease_token", "lease_until"])
def test_half_a_lease_is_none(bench: StateBench, field: str) -> None:
    bench.claim()
    damage(bench)
    bench.client.hdel(RECORD, field)
    fail(bench)
    assert not bench.client.hgetall(RECORD).keys() & {"lease_token", "lease_until", "running_task_id"}


def test_a_lease_without_its_numbers_can_be_committed_all_the_same(bench: StateBench) -> None:
    lease = bench.claim()
    damage(bench, tick="x", seq="y")
    fail(bench)
    assert [bench.client.hget(RECORD, name) for name in ("tick", "seq")] == ["0", "0"]
    assert bench.client.hget(RECORD, "lease_until") == str(bench.clock.now_ms + LEASE_MS)
    assert not bench.commit(lease).running


@pytest.mark.parametrize(("fence", "reach"), [("9000000000000", "5"), ("3", "5"), ("3", None)])
def test_whatever_may_still_arrive_is_waited_for(bench: StateBench, fence: str, reach: str | None) -> None:
    damage(bench, fence=fence)
    if reach is None:
        bench.client.hdel(RECORD, "reach")
    else:
        bench.client.hset(RECORD, "reach", reach)
    fail(bench)
    assert bench.record.fence_ms == max(int(fence), bench.clock.now_ms + int(reach or REACH_MS))
    assert bench.client.hget(RECORD, "fence_base") == str(bench.record.fence_ms)


@pytest.mark.parametrize("trace", ["a stream", "an empty one", "no stream", "nothing"])
@pytest.mark.parametrize("least_epoch", [0, 5])
def test_the_number_of_a_run_that_is_lost_is_that_of_its_last_trace(
    bench: StateBench, trace: str, least_epoch: int
) -> None:
    bench.client.delete(RECORD, keys.trace(NAME))
    if trace == "a stream":
        for epoch in (2, 3):
            bench.client.xadd(keys.trace(NAME), {"event": "committed", "epoch": epoch, "seq": 9})
    elif trace == "an empty one":
        bench.client.xadd(keys.trace(NAME), {"epoch": 9})
        bench.client.xtrim(keys.trace(NAME), 0, approximate=False)
    elif trace == "no stream":
        bench.client.set(keys.trace(NAME), "x")
    failed = fail(bench, least_epoch=least_epoch)
    assert failed == Failed(
        epoch=max(least_epoch, 3 if trace == "a stream" else 0), why="the record is missing"
    )
    assert bench.client.hget(keys.generations(NAME), "skipped") == str(bench.clock.now_ms // 1000 % 1024)


def test_a_record_that_knows_its_number_asks_no_trace(bench: StateBench) -> None:
    bench.client.xadd(keys.trace(NAME), {"event": "committed", "epoch": 9})
    damage(bench)
    assert fail(bench) == Failed(epoch=1, why=WHY)


def test_what_is_wrong_elsewhere_leaves_a_sound_record_as_it_is(bench: StateBench) -> None:
    bench.iterate()
    taken_away = ("cleanup_token", "cleanup_until", "kept", "flight", "flight_end", "left", "outcome")
    bench.client.hset(RECORD, mapping=dict.fromkeys(taken_away, "1"))
    before = bench.client.hgetall(RECORD)
    assert fail(bench, why="orders rest", epoch=1, phase=Phase.RUNNING) == Failed(epoch=1, why="orders rest")
    after = bench.client.hgetall(RECORD)
    changed = {name for name in before if before[name] != after.get(name)}
    assert changed - {"phase", "fence", "fence_base"} == {*taken_away, "pending_task_id"}
    assert after["phase"] == "failed"


@pytest.mark.parametrize(
    "seen", [{"epoch": 2, "phase": Phase.RUNNING}, {"epoch": 1, "phase": Phase.STOPPED}, {"epoch": 0}]
)
def test_what_was_wrong_with_another_run_is_not_with_this_one(
    bench: StateBench, seen: dict[str, Any]
) -> None:
    before = bench.client.hgetall(RECORD)
    assert fail(bench, why="orders rest", **seen) is None
    assert bench.client.hgetall(RECORD) == before


@pytest.mark.parametrize("fails", [False, True])
def test_a_run_that_is_cleaned_up_already_goes_on_so(bench: StateBench, fails: bool) -> None:
    bench.stop()
    if fails:
        bench.finish(bench.claim_cleanup(), clean=False, attempts_until_failed=1)
    before = bench.client.hgetall(RECORD)
    assert fail(bench, why="orders rest", epoch=1, phase=bench.record.phase) is None
    assert fail(bench) is None
    assert bench.client.hgetall(RECORD) == before


@pytest.mark.parametrize(
    ("before", "wanted"),
    [
        ('{"close_position":true,"unwind":false,"unheard_of":true}', StopPolicy(close_position=True)),
        ('{"cancel_orders":true,"unwind":"yes"}', StopPolicy()),
        ("7", StopPolicy()),
        ("{", StopPolicy()),
    ],
)
@pytest.mark.parametrize("fails", [False, True])
def test_a_stop_that_was_under_way_is_added_to(
    bench: StateBench, before: str, wanted: StopPolicy, fails: bool
) -> None:
    bench.stop()
    if fails:
        bench.finish(bench.claim_cleanup(), clean=False, attempts_until_failed=1)
    damage(bench, stop_policy=before, asked="the story")
    failed = fail(bench)
    assert failed is not None
    first, second = str(bench.client.hget(RECORD, "asked")).split("\n")
    assert first == "the story"
    assert json.loads(second) == asked(bench, wanted, failed.why)


def test_a_policy_of_a_run_that_goes_on_is_none(bench: StateBench) -> None:
    damage(bench, stop_policy='{"close_position":true}', asked="of before")
    fail(bench, policy=StopPolicy(unwind=True))
    assert StopPolicy.from_json(str(bench.client.hget(RECORD, "stop_policy"))) == StopPolicy(unwind=True)
    assert json.loads(str(bench.client.hget(RECORD, "asked"))) == asked(bench, StopPolicy(unwind=True), WHY)


@pytest.mark.parametrize("keeps", [Keeps.EVERYSEC, Keeps.UNSURE])
def test_it_waits_for_the_disk_where_that_may_forget(redis_client: redis.Redis, keeps: Keeps) -> None:
    bench = StateBench(redis_client, keeps)
    bench.client.hdel(RECORD, "unsaved")
    damage(bench)
    fail(bench)
    is_waited_for = keeps is Keeps.EVERYSEC
    assert bench.client.hget(RECORD, "unsaved") == (f"stop {bench.clock.now_ms}" if is_waited_for else None)
    server = str(bench.client.hget(RECORD, "server"))
    assert server.startswith(str(bench.client.get("test:store_server")))


def test_calls_that_nobody_answers_do_not_pile_up(bench: StateBench) -> None:
    bench.client.rpush(keys.WAKE, *["x"] * 1_000)
    damage(bench)
    fail(bench)
    assert bench.client.llen(keys.WAKE) == 1_000


#: What a script takes for a number where it is there.
NUMBERS = (
    *("lease_until", "cleanup_until", "fence", "fence_base", "cleanup_fence_base", "resends", "attempts"),
    *("committed_at", "reach", "slot", "stop_requested_at", "stopped_at", "last_error_at", "tick", "due"),
    *("seq", "errors", "started_at", "paused", "withdrawn", "quiet"),
)
LONG = "9" * 39 + "xyz"


@pytest.mark.parametrize("stops", [False, True])
@pytest.mark.parametrize("field", NUMBERS)
def test_a_field_that_is_no_number_is_damage(bench: StateBench, field: str, stops: bool) -> None:
    if stops:
        bench.stop()
    for sound in ("0", "12") if field == "slot" else ("0", "12", "-3"):
        bench.client.hset(RECORD, field, sound)
        assert fail(bench) is None
    bench.client.hset(RECORD, field, LONG)
    assert fail(bench) == Failed(epoch=1, why=f"{field} is {LONG[:40]}")


@pytest.mark.parametrize("field", ["account", "slot", "tick", "due", "seq", "errors", "started_at"])
def test_a_running_record_needs_what_an_iteration_reads(bench: StateBench, field: str) -> None:
    bench.client.hdel(RECORD, field)
    assert fail(bench) == Failed(epoch=1, why=f"{field} is missing")


def test_a_stopping_record_does_not(bench: StateBench) -> None:
    bench.stop()
    bench.client.hdel(RECORD, "account", "slot", "tick", "due", "seq", "errors", "started_at")
    assert fail(bench) is None


@pytest.mark.parametrize("phase", ["missing", "runing", "RUNNING", "run ning", LONG])
def test_a_phase_that_is_none_is_damage(bench: StateBench, phase: str) -> None:
    if phase == "missing":
        bench.client.hdel(RECORD, "phase")
    else:
        bench.client.hset(RECORD, "phase", phase)
    assert fail(bench) == Failed(epoch=1, why=f"phase is {phase[:40]}")


@pytest.mark.parametrize("epoch", ["x", "", "-1", LONG])
def test_an_epoch_that_is_none_is_damage(bench: StateBench, epoch: str) -> None:
    bench.client.hset(RECORD, "epoch", epoch)
    failed = fail(bench)
    assert failed is not None
    assert failed.why == f"epoch is {epoch[:40]}"


def test_a_record_of_another_type_is_damage(bench: StateBench) -> None:
    bench.client.delete(RECORD)
    bench.client.rpush(RECORD, "x")
    assert fail(bench) == Failed(epoch=0, why="the record is no hash but a list")


@pytest.mark.parametrize("ends", ["stopping", "failed", "stopped"])
def test_a_policy_that_cannot_be_read_is_damage(bench: StateBench, ends: str) -> None:
    bench.stop()
    if ends != "stopping":
        bench.finish(bench.claim_cleanup(), clean=ends == "stopped", attempts_until_failed=1)
    assert bench.record.phase == ends
    assert fail(bench) is None
    bench.client.hset(RECORD, "stop_policy", "{")
    assert fail(bench) == Failed(epoch=1, why="stop_policy cannot be read")


@pytest.mark.parametrize("ends", ["stopping", "stopped"])
def test_only_what_is_stopped_may_lack_its_policy(bench: StateBench, ends: str) -> None:
    bench.stop()
    if ends == "stopped":
        bench.finish(bench.claim_cleanup(), clean=True)
    bench.client.hdel(RECORD, "stop_policy")
    assert fail(bench) == (None if ends == "stopped" else Failed(epoch=1, why="stop_policy cannot be read"))


def test_a_stop_that_was_under_way_may_have_no_story(bench: StateBench) -> None:
    bench.stop()
    damage(bench)
    bench.client.hdel(RECORD, "asked")
    fail(bench)
    assert json.loads(str(bench.client.hget(RECORD, "asked"))) == asked(bench, StopPolicy(), WHY)

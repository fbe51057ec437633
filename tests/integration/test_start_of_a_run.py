"""What the start of a run takes away, keeps and writes down."""

from __future__ import annotations

import pytest
import redis

from state import keys
from state.bookings import BookingQueue
from state.cleanup_leases import CleanupLease
from state.client_ids import intent_field
from state.durability import Keeps
from state.instances import StartResult
from state.record import Phase
from state.stop_story import AcceptedLeft
from tests.factories import client_order_id
from tests.integration.state_bench import (
    CLEANUP_LEASE_MS,
    MARGIN_MS,
    NAME,
    WINDOW_MS,
    StateBench,
)

REACH_MS = WINDOW_MS + MARGIN_MS
#: What an earlier run may have left in the record that must not be taken for the new one's.
OF_BEFORE = (
    *("lease_token", "lease_until", "lease_kind", "running_task_id", "pending_task_id", "again", "woken"),
    *("cleanup_token", "cleanup_until", "attempts", "outcome", "state", "books", "last_error", "stop_by"),
    *("stop_reason", "stop_policy", "kept", "stop_requested_at", "stopped_at", "unsaved", "asked", "flight"),
    *("flight_end", "left", "damage", "paused", "paused_by", "pause_reason", "withdrawn", "quiet", "strays"),
    *("restart", "look", "resends", "errors", "tick", "seq"),
)
FAR_MS = 9_000_000_000_000


def fail_run(bench: StateBench, left: str = "41") -> None:
    """Stop the run, and leave an order behind."""
    bench.stop()
    lease = bench.try_claim_cleanup(epoch=bench.record.epoch)
    assert isinstance(lease, CleanupLease)
    bench.cleanup_leases.finish(
        lease,
        clean=False,
        outcome_json="{}",
        left=left,
        retry_after_ms=1,
        attempts_until_failed=1,
    )


def start(
    bench: StateBench,
    *,
    accept: AcceptedLeft | None = None,
    least_epoch: int = 0,
    keeps: Keeps = Keeps.ALWAYS,
) -> StartResult:
    """Begin a run with another configuration."""
    return bench.instances.start(
        NAME,
        config_version="v2",
        config_json='{"two":2}',
        slot=8,
        account="acc2",
        by="somebody",
        accept=accept,
        keeps=keeps,
        reach_ms=REACH_MS,
        least_epoch=least_epoch,
    )


def test_a_run_begins_with_nothing_of_the_one_before_but_its_fence_and_the_day(bench: StateBench) -> None:
    record = keys.record(NAME)
    bench.stop()
    bench.finish(bench.claim_cleanup(), clean=True)
    bench.client.hset(record, mapping=dict.fromkeys(OF_BEFORE, FAR_MS))
    bench.client.hset(record, mapping={"fence": FAR_MS, "daily": "today"})
    bench.client.hset(keys.intents(NAME), intent_field(client_order_id()), 5)
    bench.client.set(keys.stop(NAME), "stop")
    bench.client.rpush(keys.released(NAME), "token")
    bench.client.delete(keys.DUE, keys.INSTANCES)
    bench.clock.advance(5)

    assert start(bench).started

    found = bench.client.hgetall(record)
    assert {name: found.get(name) for name in OF_BEFORE if name in found} == dict.fromkeys(
        ("resends", "errors", "tick", "seq"), "0"
    )
    now = str(bench.clock.now_ms)
    assert {name: found[name] for name in ("phase", "epoch", "due", "started_at", "fence", "daily")} == {
        "phase": "running",
        "epoch": "2",
        "due": now,
        "started_at": now,
        "fence": str(FAR_MS),
        "daily": "today",
    }
    assert {
        name: found[name] for name in ("config_version", "slot", "account", "keeps", "reach", "server")
    } == {
        "config_version": "v2",
        "slot": "8",
        "account": "acc2",
        "keeps": "always",
        "reach": str(REACH_MS),
        "server": "",
    }
    assert not bench.client.exists(keys.intents(NAME), keys.stop(NAME), keys.released(NAME))
    assert bench.instances.config_json(NAME) == '{"two":2}'
    assert bench.due_score() == bench.clock.now_ms
    assert [each.instance_id for each in bench.instances.read_all()] == [NAME]
    event = bench.events.of_instance(NAME)[-1]
    assert (event.event, event.epoch, event.at_ms) == ("started", 2, bench.clock.now_ms)
    assert event.fields["by"] == "somebody"
    assert event.fields.get("accepted", "") == ""


@pytest.mark.parametrize("phase", [Phase.RUNNING, Phase.STOPPING])
def test_what_goes_on_is_not_started_over_whatever_is_accepted(bench: StateBench, phase: Phase) -> None:
    if phase is Phase.STOPPING:
        bench.stop()
    before = bench.client.hgetall(keys.record(NAME))
    accept = AcceptedLeft(epoch=1, left="?")
    assert start(bench, accept=accept) == StartResult(result=str(phase), epoch=1)
    assert bench.client.hgetall(keys.record(NAME)) == before


@pytest.mark.parametrize(("least_epoch", "epoch"), [(0, 2), (1, 2), (7, 8)])
def test_a_run_comes_after_every_one_that_is_known(bench: StateBench, least_epoch: int, epoch: int) -> None:
    bench.stop()
    bench.finish(bench.claim_cleanup(), clean=True)
    assert start(bench, least_epoch=least_epoch).epoch == epoch
    assert bench.record.epoch == epoch


@pytest.mark.parametrize(("before_end_ms", "result"), [(1, "cleaning"), (0, "started")])
def test_a_failed_run_is_left_once_its_cleanup_lease_is_over(
    bench: StateBench, before_end_ms: int, result: str
) -> None:
    fail_run(bench)
    bench.claim_cleanup()
    bench.clock.advance(CLEANUP_LEASE_MS - before_end_ms)
    assert start(bench, accept=AcceptedLeft(epoch=1, left="41")).result == result


@pytest.mark.parametrize(
    "accept",
    [AcceptedLeft(epoch=1, left="42"), AcceptedLeft(epoch=2, left="41"), AcceptedLeft(epoch=1, left="?")],
    ids=["other orders", "another run", "nobody knew"],
)
def test_only_what_is_left_can_be_accepted(bench: StateBench, accept: AcceptedLeft) -> None:
    fail_run(bench)
    assert start(bench, accept=accept) == StartResult(result="changed", epoch=1)
    assert bench.record.phase is Phase.FAILED
    assert start(bench) == StartResult(result="failed", epoch=1)


def test_what_nobody_has_told_of_is_accepted_as_unknown(bench: StateBench) -> None:
    fail_run(bench)
    bench.client.hdel(keys.record(NAME), "left")
    assert start(bench, accept=AcceptedLeft(epoch=1, left="?")).started


@pytest.mark.parametrize("booking", ["", "a receipt"])
def test_the_ledger_is_told_what_was_accepted(bench: StateBench, booking: str) -> None:
    fail_run(bench)
    assert start(bench, accept=AcceptedLeft(epoch=1, left="41", booking=booking)).started
    told = [entry.text for entry in BookingQueue(bench.client).oldest(9)]
    assert told == ([booking] if booking else [])
    assert bench.events.of_instance(NAME)[-1].fields["accepted"] == "1:41"


def test_the_orders_that_nobody_told_of_are_remembered_through_forced_starts(bench: StateBench) -> None:
    def sent(level: int) -> str:
        name = intent_field(client_order_id(level=level))
        bench.client.hset(keys.intents(NAME), name, 5)
        return name

    first = [sent(1), sent(2)]
    fail_run(bench)
    assert start(bench, accept=AcceptedLeft(epoch=1, left="41")).started
    assert str(bench.client.hget(keys.record(NAME), "strays")).split(",") == first
    second = sent(3)
    fail_run(bench)
    assert start(bench, accept=AcceptedLeft(epoch=2, left="41")).started
    assert str(bench.client.hget(keys.record(NAME), "strays")).split(",") == [*first, second]


def test_a_forced_start_has_no_strays_where_nothing_was_sent(bench: StateBench) -> None:
    fail_run(bench)
    assert start(bench, accept=AcceptedLeft(epoch=1, left="41")).started
    assert bench.instances.run_data(NAME, 8).strays == frozenset()


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("fence_ms", [None, 5, FAR_MS])
def test_a_forced_start_after_a_restart_of_the_server_moves_the_fence_forwards_only(
    redis_client: redis.Redis, restarts: bool, fence_ms: int | None
) -> None:
    bench = StateBench(redis_client, Keeps.EVERYSEC)
    fail_run(bench)
    bench.client.hdel(keys.record(NAME), "fence", "unsaved")
    if fence_ms is not None:
        bench.client.hset(keys.record(NAME), "fence", fence_ms)
    if restarts:
        bench.clock.restart_server()
    bench.clock.advance(7)
    assert start(bench, accept=AcceptedLeft(epoch=1, left="41"), keeps=Keeps.EVERYSEC).started
    expected = max(fence_ms or 0, bench.clock.now_ms + REACH_MS) if restarts else fence_ms or 0
    assert bench.record.fence_ms == expected
    assert bench.client.hget(keys.record(NAME), "unsaved") == f"start {bench.clock.now_ms}"


@pytest.mark.parametrize("keeps", [Keeps.EVERYSEC, Keeps.UNSURE])
def test_a_run_knows_the_server_where_that_may_forget(bench: StateBench, keeps: Keeps) -> None:
    bench.stop()
    bench.finish(bench.claim_cleanup(), clean=True)
    assert start(bench, keeps=keeps).started
    server = str(bench.client.hget(keys.record(NAME), "server"))
    assert server.startswith(str(bench.client.get("test:store_server")))
    assert (bench.client.hget(keys.record(NAME), "unsaved") is not None) is (keeps is Keeps.EVERYSEC)


def test_a_cleanup_that_was_given_back_stands_in_nobodys_way(bench: StateBench) -> None:
    fail_run(bench)
    assert bench.cleanup_leases.release(bench.claim_cleanup(), receipt_json="{}", left="41")
    assert start(bench, accept=AcceptedLeft(epoch=1, left="41")).started

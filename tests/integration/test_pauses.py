"""A paused run: the gate closes at once, what rests is withdrawn and proven gone, its state stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import redis

from exchanges.errors import Unavailable
from market.orders import CancelAnswer, CancelOutcome, Side
from runner import loaded
from runner.pausing import Paused, pause_instances
from state import keys
from state.due import IterateAgain
from state.durability import Keeps
from state.permissions import AuthorizationRefused
from state.record import Phase
from state.run_changes import ChangeResult, RunChanges
from tests.factories import INSTANCE_ID, VERSION
from tests.integration.state_bench import INTERVAL_MS, LEASE_MS, NAME, StateBench
from tests.integration.trader import Trader


def pause(bench: StateBench) -> ChangeResult:
    return RunChanges(bench.client, bench.clock.scripts).pause(NAME, by="somebody", reason="news")


def resume(bench: StateBench) -> ChangeResult:
    return RunChanges(bench.client, bench.clock.scripts).resume(NAME, by="somebody")


def look(bench: StateBench, *, is_quiet: bool, pause_ms: int = 0) -> bool:
    """Run one iteration of a paused run; tell whether another one follows at once."""
    lease = bench.claim(None)
    assert lease.is_paused
    committed = bench.leases.commit(
        lease,
        resolved=True,
        state_json="",
        interval_ms=INTERVAL_MS,
        next_task_id="n",
        is_quiet=is_quiet,
        look_again_ms=pause_ms,
    )
    return committed.wake_up


def test_nothing_is_authorised_from_the_pause_on_until_it_is_resumed(bench: StateBench) -> None:
    lease = bench.claim()
    bench.authorize(lease)
    assert pause(bench).result == "paused"
    with pytest.raises(AuthorizationRefused, match="paused"):
        bench.authorize(lease)
    assert resume(bench).result == "resumed"
    bench.authorize(lease)


def test_a_pause_is_a_mark_of_a_running_run(bench: StateBench) -> None:
    pause(bench)
    record = bench.record
    assert (record.phase, record.is_paused, record.paused_by, record.pause_reason) == (
        Phase.RUNNING,
        True,
        "somebody",
        "news",
    )
    assert record.withdrawn_at_ms is None
    resume(bench)
    assert not bench.record.is_paused
    assert bench.record.pause_reason == ""


def test_asked_twice_it_changes_nothing_more(bench: StateBench) -> None:
    assert resume(bench).result == "running"
    first = pause(bench)
    bench.clock.advance(5)
    assert (again := pause(bench)).result == "joined"
    assert again.at_ms == first.at_ms
    assert bench.record.paused_at_ms == first.at_ms
    assert [event.event for event in bench.events.of_instance(NAME)] == ["started", "paused"]


def test_only_what_runs_is_paused_and_only_the_run_that_was_meant(bench: StateBench) -> None:
    changes = RunChanges(bench.client, bench.clock.scripts)
    assert changes.pause(NAME, by="x", reason="", epoch=9).result == "stale"
    assert changes.pause("never_01", by="x", reason="").result == "stopped"
    bench.stop()
    assert pause(bench).result == "stopping"
    assert resume(bench).result == "stopping"
    assert not bench.record.is_paused


def test_an_iteration_follows_at_once_and_takes_no_schedule_away(bench: StateBench) -> None:
    bench.iterate()
    due_at_ms = bench.record.due_at_ms
    pause(bench)
    swept = bench.sweep()
    assert isinstance(swept, IterateAgain)
    assert swept.tick is None
    assert bench.record.due_at_ms == due_at_ms


def test_a_worker_that_dies_while_it_withdraws_is_followed_by_another(bench: StateBench) -> None:
    bench.iterate()
    pause(bench)
    bench.claim(None)
    bench.clock.advance(LEASE_MS + 1_000)
    swept = bench.sweep()
    assert isinstance(swept, IterateAgain)
    assert bench.claim(None).is_paused


def test_after_an_iteration_that_knew_of_no_pause_comes_one_that_does(bench: StateBench) -> None:
    lease = bench.claim()
    pause(bench)
    assert bench.commit(lease).wake_up
    assert bench.record.withdrawn_at_ms is None


def test_it_takes_two_looks_in_a_row_that_find_nothing(bench: StateBench) -> None:
    bench.iterate()
    pause(bench)
    assert look(bench, is_quiet=True)
    assert look(bench, is_quiet=False)
    assert look(bench, is_quiet=True)
    assert bench.client.hget(keys.record(NAME), "withdrawn") is None
    assert not look(bench, is_quiet=True)
    assert bench.record.withdrawn_at_ms == bench.clock.now_ms
    assert [event.event for event in bench.events.of_instance(NAME)][-1] == "withdrawn"
    # And nothing more is owed until the next tick
    bench.clock.advance(1_500)
    assert bench.sweep() is None


def test_a_second_pause_is_not_taken_for_withdrawn_by_the_word_of_the_first(bench: StateBench) -> None:
    bench.iterate()
    pause(bench)
    look(bench, is_quiet=True)
    look(bench, is_quiet=True)
    resume(bench)
    bench.iterate(None)
    pause(bench)
    assert bench.record.withdrawn_at_ms is None
    assert isinstance(bench.sweep(), IterateAgain)


def test_an_order_that_turns_up_later_takes_the_word_back(bench: StateBench) -> None:
    bench.iterate()
    pause(bench)
    look(bench, is_quiet=True)
    look(bench, is_quiet=True)
    bench.client.hset(keys.record(NAME), "woken", bench.clock.now_ms)
    assert look(bench, is_quiet=False)
    assert bench.record.withdrawn_at_ms is None


def test_the_look_after_a_placement_without_an_answer_waits_for_the_fence(bench: StateBench) -> None:
    lease = bench.claim()
    fence_ms = bench.authorize(lease)
    pause(bench)
    assert not bench.commit(lease, resolved=False).wake_up
    assert bench.due_score() == fence_ms
    bench.clock.advance(fence_ms - bench.clock.now_ms)
    assert isinstance(bench.sweep(), IterateAgain)


def test_a_look_that_is_not_sure_is_repeated_after_a_moment(bench: StateBench) -> None:
    bench.iterate()
    pause(bench)
    assert not look(bench, is_quiet=False, pause_ms=500)
    assert bench.due_score() == bench.clock.now_ms + 500


def test_a_stop_works_from_paused_and_the_next_run_is_not_paused(bench: StateBench) -> None:
    bench.iterate()
    pause(bench)
    bench.stop()
    cleanup = bench.claim_cleanup()
    assert cleanup.paused_at_ms is not None
    assert bench.finish(cleanup, clean=True) == "stopped"
    assert bench.record.phase is Phase.STOPPED
    bench.start()
    assert not bench.record.is_paused
    assert bench.record.paused_at_ms is None


def test_a_resumed_run_places_nothing_before_the_disk_knows_of_it(redis_client: redis.Redis) -> None:
    bench = StateBench(redis_client, keeps=Keeps.EVERYSEC)
    pause(bench)
    assert str(bench.client.hget(keys.record(NAME), "unsaved")).startswith("pause ")
    resume(bench)
    assert str(bench.client.hget(keys.record(NAME), "unsaved")).startswith("resume ")


def test_every_gate_is_closed_before_the_disk_is_waited_for(
    bench: StateBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [NAME, "bp_sol_02", "bp_sol_03"]
    for name in names[1:]:
        bench.client.copy(keys.record(NAME), keys.record(name))
    waits: list[list[bool]] = []

    def save(_: Sequence[str]) -> bool:
        found = [bench.instances.read(name) for name in names]
        waits.append([record is not None and record.is_paused for record in found])
        return True

    monkeypatch.setattr(bench.instances, "save_stops", save)
    changes = RunChanges(bench.client, bench.clock.scripts)
    found = pause_instances(bench.instances, changes, [*names, "never_01"], by="x", reason="")
    assert waits == [[True, True, True]]
    assert [isinstance(each, Paused) for each in found.values()] == [True, True, True, False]


def pause_trader(trader: Trader) -> None:
    trader.bench.context.changes.pause(INSTANCE_ID, by="test", reason="")


def is_withdrawn(trader: Trader) -> bool:
    return trader.bench.record.withdrawn_at_ms is not None


def test_what_rests_is_cancelled_and_the_strategy_is_not_asked(trader: Trader) -> None:
    trader.run()
    assert len(trader.venue.resting) == 2
    state = trader.bench.field("state")
    pause_trader(trader)
    assert trader.run() is None
    assert trader.venue.resting == {}
    assert not is_withdrawn(trader)
    trader.run()
    trader.run()
    assert is_withdrawn(trader)
    assert trader.bench.field("state") == state
    # When resumed, it quotes as before
    trader.bench.context.changes.resume(INSTANCE_ID, by="test")
    assert trader.run() is not None
    assert len(trader.venue.resting) == 2


def test_a_fill_of_the_pause_is_shown_to_the_strategy_when_it_is_resumed(trader: Trader) -> None:
    trader.run()
    bid = trader.resting(Side.BUY)[0]
    trader.venue.hit(bid)
    pause_trader(trader)
    trader.run()
    assert trader.books.profit.net == 1
    trader.bench.context.changes.resume(INSTANCE_ID, by="test")
    seen = trader.run()
    assert seen is not None
    assert [each.order_id for each in seen.fills] == [bid]


def test_orders_go_also_while_the_market_cannot_be_read(trader: Trader) -> None:
    trader.run()
    trader.venue.always["order_book"] = Unavailable("no book")
    pause_trader(trader)
    for _ in range(3):
        trader.run()
    assert trader.venue.resting == {}
    assert is_withdrawn(trader)
    assert trader.bench.record.errors == 0


def test_a_placement_that_may_still_arrive_is_waited_for(trader: Trader) -> None:
    trader.bench.leave_unresolved(window_ms=60_000)
    pause_trader(trader)
    for _ in range(3):
        trader.run()
    assert not is_withdrawn(trader)
    trader.wait_for_the_fence()
    for _ in range(3):
        trader.run()
    assert is_withdrawn(trader)


def test_what_is_proven_stays_proven_while_the_exchange_is_away(trader: Trader) -> None:
    pause_trader(trader)
    for _ in range(2):
        trader.run()
    assert is_withdrawn(trader)
    trader.venue.always["open_orders"] = Unavailable("away")
    trader.run()
    assert trader.bench.record.errors == 1
    assert is_withdrawn(trader)


def test_orders_are_cancelled_by_id_where_no_list_can_be_read(trader: Trader) -> None:
    trader.run()
    trader.venue.always["open_orders"] = Unavailable("away")
    pause_trader(trader)
    for _ in range(3):
        trader.run()
    assert trader.venue.resting == {}
    assert not is_withdrawn(trader)


def test_a_cancel_that_nobody_confirms_is_not_taken_for_done(trader: Trader) -> None:
    trader.run()
    trader.venue.always["cancel"] = lambda *_: CancelAnswer(outcome=CancelOutcome.REFUSED)
    pause_trader(trader)
    for _ in range(3):
        trader.run()
    assert not is_withdrawn(trader)
    del trader.venue.always["cancel"]
    for _ in range(3):
        trader.run()
    assert trader.venue.resting == {}
    assert is_withdrawn(trader)


def test_limits_end_a_paused_run(trader: Trader) -> None:
    bench = trader.bench
    instance = replace(bench.instance, duration_ms=1)
    trader.monkeypatch.setitem(loaded._known, INSTANCE_ID, (VERSION, instance))
    pause_trader(trader)
    bench.set_field("started_at", 1)
    trader.run()
    assert bench.phase is Phase.STOPPING

"""Each fill is told once, to whom it belongs, before anybody is woken for it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import redis

from exchanges.stream import OrderEvent
from state import keys
from state.bookings import BookingQueue
from state.hearing import FILLED, touched
from tests.factories import ACCOUNT, INSTANCE_ID, SYMBOL, client_order_id, fill, instrument, open_order
from tests.unit.feed.feed_bench import FeedBench, filled, watched


@pytest.fixture
def told(bench: FeedBench) -> FeedBench:
    """A teller that knows the instance and what its symbol trades."""
    bench.teller.watch(watched())
    bench.teller.learn(instrument())
    return bench


def bookings(bench: FeedBench, kind: str = "fill") -> list[dict[str, Any]]:
    found = [json.loads(entry.text) for entry in BookingQueue(bench.client).oldest(1000)]
    return [booking for booking in found if booking["kind"] == kind]


def test_a_fill_is_booked_kept_for_its_instance_and_wakes_it(told: FeedBench) -> None:
    assert told.teller.tell_fills([fill("t1", filled_at_ms=told.instances.now_ms())], "rest") == 1
    (booking,) = bookings(told)
    assert (booking["instance_id"], booking["epoch"], booking["trade_id"]) == (INSTANCE_ID, 1, "t1")
    assert (booking["level"], booking["role"], booking["source"]) == (0, 0, "rest")
    assert [each.trade_id for each in told.own_fills.seen(INSTANCE_ID, since_ms=0)] == ["t1"]
    assert told.woken()


def test_the_same_fill_from_stream_and_history_is_told_once(told: FeedBench) -> None:
    told.teller.tell_updates([filled(fill("t1")), filled(fill("t1"))])
    assert told.teller.tell_fills([fill("t1"), fill("t2"), fill("t2")], "rest") == 1
    assert [booking["trade_id"] for booking in bookings(told)] == ["t1", "t2"]


def test_one_trade_of_two_orders_is_two_fills(told: FeedBench) -> None:
    assert told.teller.tell_fills([fill("t1", order_id="1"), fill("t1", order_id="2")], "rest") == 2


def test_after_the_state_server_was_away_everything_is_told_again(told: FeedBench) -> None:
    told.teller.tell_fills([fill("t1")], "rest")
    told.teller.forget_told()
    assert told.teller.tell_fills([fill("t1")], "rest") == 1


def test_what_could_not_be_told_is_not_taken_for_told(
    told: FeedBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise redis.ConnectionError("away")

    with monkeypatch.context() as patch:
        patch.setattr(told.own_fills, "tell", fail)
        with pytest.raises(redis.ConnectionError):
            told.teller.tell_fills([fill("t1")], "rest")
    assert told.teller.tell_fills([fill("t1")], "rest") == 1


def test_what_follows_a_restart_is_the_new_runs_before_the_feed_has_heard_of_it(told: FeedBench) -> None:
    now_ms = told.instances.now_ms()
    told.client.hset(keys.record(INSTANCE_ID), mapping={"epoch": 2, "started_at": now_ms})
    told.teller.tell_updates([filled(fill("t1", filled_at_ms=now_ms))])
    assert [booking["epoch"] for kind in ("fill", "order") for booking in bookings(told, kind)] == [2, 2]


def test_what_is_older_than_the_run_is_not_taken_for_its_own(told: FeedBench) -> None:
    told.teller.tell_updates([filled(fill("t1", filled_at_ms=told.instances.now_ms() - 60_000))])
    for kind in ("fill", "order"):
        (booking,) = bookings(told, kind)
        assert (booking["instance_id"], booking["epoch"]) == (INSTANCE_ID, 0)


def test_a_fill_of_a_humans_order_is_booked_as_nobodys_and_wakes_nobody(told: FeedBench) -> None:
    told.teller.tell_fills([fill("t1", slot=None)], "stream")
    (booking,) = bookings(told)
    assert (booking["instance_id"], booking["epoch"], booking["level"]) == ("", 0, None)
    assert not told.woken()


def test_a_fill_of_an_instance_that_ran_earlier_is_booked_as_its_own(told: FeedBench) -> None:
    told.owners = {9: "earlier"}
    told.teller.tell_fills([fill("t1", slot=9), fill("t2", slot=10)], "rest")
    assert [booking["instance_id"] for booking in bookings(told)] == ["earlier", ""]


def test_a_fill_of_an_unknown_market_waits_until_the_market_is_known(bench: FeedBench) -> None:
    bench.teller.watch(watched())
    bench.teller.tell_updates([filled(fill("t1"))])
    assert bookings(bench) == []
    assert bench.teller.unknown_symbols() == {SYMBOL}
    bench.teller.learn(instrument())
    assert [booking["source"] for booking in bookings(bench)] == ["stream"]
    assert bench.teller.unknown_symbols() == frozenset()


def test_fills_of_markets_that_are_left_out_wait_for_nothing(bench: FeedBench) -> None:
    bench.teller.watch(watched())
    bench.teller.tell_updates([filled(fill("t1"))])
    bench.teller.leave_out({SYMBOL})
    bench.teller.tell_updates([filled(fill("t2"))])
    assert bench.teller.unknown_symbols() == frozenset()
    bench.teller.learn(instrument())
    assert bookings(bench) == []


def test_orders_are_booked_as_they_stand(told: FeedBench) -> None:
    told.teller.tell_orders([open_order("7"), open_order("8", slot=None)], 5_000)
    own, other = bookings(told, "order")
    assert (own["order_id"], own["instance_id"], own["status"], own["at_ms"]) == (
        "7",
        INSTANCE_ID,
        "new",
        5_000,
    )
    assert own["client_order_id"] == client_order_id()
    assert (other["order_id"], other["instance_id"]) == ("8", "")
    assert not told.woken()


def test_a_client_order_id_that_cannot_be_ours_is_a_humans(told: FeedBench) -> None:
    foreign = replace(fill("t1"), client_order_id=2**40)
    assert told.teller.tell_fills([foreign], "stream") == 1
    assert [booking["instance_id"] for booking in bookings(told)] == [""]


def test_a_long_history_is_told_in_parts(told: FeedBench) -> None:
    assert told.teller.tell_fills([fill(str(n)) for n in range(1_300)], "rest") == 1_300
    assert (
        len({booking["trade_id"] for booking in bookings(told)}) == 1_000
        or BookingQueue(told.client).length() == 1_300
    )


def heard(bench: FeedBench) -> set[str]:
    return {str(name) for name in bench.client.hkeys(keys.heard(ACCOUNT))}


def test_an_execution_is_heard_by_all_of_the_account_and_its_instance(told: FeedBench) -> None:
    told.teller.tell_updates([filled(fill("t1"))])
    assert heard(told) == {FILLED, touched(INSTANCE_ID)}


def test_an_execution_that_nobody_can_place_yet_is_heard_too(bench: FeedBench) -> None:
    bench.teller.tell_updates([filled(fill("t1", symbol="ETH_USDC"))])
    assert FILLED in heard(bench)


def test_what_else_happens_to_an_order_is_heard_by_its_instance_only(told: FeedBench) -> None:
    update = replace(filled(fill("t1")), event=OrderEvent.CANCELLED, fill=None)
    told.teller.tell_updates([update])
    assert heard(told) == {touched(INSTANCE_ID)}


def test_what_nobody_knows_may_be_an_execution(told: FeedBench) -> None:
    update = replace(filled(fill("t1")), event=OrderEvent.UNKNOWN, fill=None)
    told.teller.tell_updates([update])
    assert heard(told) == {FILLED, touched(INSTANCE_ID)}


def test_orders_that_a_list_shows_otherwise_are_heard_of(told: FeedBench) -> None:
    told.teller.tell_orders([open_order()], 1)
    assert heard(told) == {touched(INSTANCE_ID)}


def test_a_fill_that_a_history_shows_again_is_nothing_new(told: FeedBench) -> None:
    told.teller.tell_fills([fill("t1")], "rest")
    told.client.delete(keys.heard(ACCOUNT))
    told.teller.tell_fills([fill("t1")], "rest")
    assert heard(told) == set()

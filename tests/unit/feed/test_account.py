"""One account: streams read, lost, frozen and opened again, with the gaps closed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import pytest

from exchanges.errors import Refused, StreamClosed
from exchanges.stream import OrderUpdate, Pulse, StreamRefused
from feed import account
from feed.watched import WakeOnMove
from state import keys
from state.bookings import BookingQueue
from state.hearing import HEARD, SINCE
from tests.factories import ACCOUNT, INSTANCE_ID, SYMBOL, fill, instrument
from tests.support import wait_until
from tests.unit.feed.feed_bench import END, FeedBench, change, filled, pulse, watched


def started(bench: FeedBench) -> FeedBench:
    bench.teller.learn(instrument())
    bench.start()
    wait_until(lambda: bench.feed.standing == "streaming")
    return bench


def fills_told(bench: FeedBench) -> list[str]:
    return [each.trade_id for each in bench.own_fills.seen(INSTANCE_ID, since_ms=0)]


def test_a_fill_of_the_stream_is_told_and_wakes(bench: FeedBench) -> None:
    started(bench).stream.bring(filled(fill("t1")))
    wait_until(lambda: fills_told(bench) == ["t1"])
    assert bench.woken()


def test_the_streams_of_running_symbols_are_watched_and_changes_followed(bench: FeedBench) -> None:
    started(bench)
    wait_until(lambda: bench.stream.watched[-1:] == [frozenset({SYMBOL})])
    bench.feed.watch(watched(is_running=False))
    wait_until(lambda: bench.stream.watched[-1] == frozenset())


def test_what_a_broken_stream_left_out_comes_from_the_history(bench: FeedBench) -> None:
    started(bench).stream.bring(filled(fill("t1")))
    wait_until(lambda: fills_told(bench) == ["t1"])
    bench.venue.filled += [fill("t1"), fill("t2")]
    bench.stream.bring(END)
    wait_until(lambda: bench.stream.opened == 2)
    wait_until(lambda: fills_told(bench) == ["t1", "t2"])
    assert bench.woken()


def test_a_stream_that_cannot_be_opened_is_tried_again(bench: FeedBench) -> None:
    bench.stream.refusals += [StreamClosed("away"), StreamClosed("still away")]
    bench.start()
    wait_until(lambda: bench.stream.opened == 1)


def test_a_connection_over_which_nothing_comes_is_given_up(
    bench: FeedBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account, "FROZEN_S", 0.3)
    started(bench).stream.bring(pulse())
    wait_until(lambda: bench.stream.opened >= 2)


def test_a_connection_that_brings_nothing_after_one_that_did_is_given_up_too(
    bench: FeedBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outage outlasts a reconnection: pings are answered, and nobody has the subscriptions."""
    monkeypatch.setattr(account, "FROZEN_S", 0.3)
    bench.stream.answers_pings = True
    started(bench).stream.bring(pulse())
    wait_until(lambda: bench.stream.opened >= 3)


def test_a_market_that_has_had_no_ticker_for_long_is_one_without_trades(
    bench: FeedBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account, "FROZEN_S", 0.3)
    monkeypatch.setattr(account, "BEATS_FOR_S", 1.0)
    monkeypatch.setattr(account, "PING_S", 0.2)
    bench.stream.answers_pings = True
    started(bench).stream.bring(pulse())
    wait_until(lambda: bench.stream.pings >= 3)
    opened = bench.stream.opened
    wait_until(lambda: bench.stream.pings >= 6)
    assert bench.stream.opened == opened


def test_a_market_without_trades_is_silent_and_its_connection_is_kept_while_pings_are_answered(
    bench: FeedBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its stream was given up every 5 s, with all that came between two of them."""
    monkeypatch.setattr(account, "FROZEN_S", 0.05)
    monkeypatch.setattr(account, "PING_S", 0.2)
    bench.stream.answers_pings = True
    started(bench).stream.bring(change(1))
    wait_until(lambda: bench.stream.pings >= 3)
    assert bench.stream.opened == 1
    bench.stream.answers_pings = False
    wait_until(lambda: bench.stream.opened >= 2)


def test_a_connection_that_lives_is_kept(bench: FeedBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account, "FROZEN_S", 2.0)
    started(bench)
    end_s = time.monotonic() + 3.0

    def beating() -> bool:
        bench.stream.bring(pulse())
        return time.monotonic() > end_s

    wait_until(beating)
    assert bench.stream.opened == 1


def test_without_a_symbol_the_exchange_is_pinged_and_has_to_answer(
    bench: FeedBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account, "PING_S", 0.1)
    bench.feed._watched = watched(is_running=False)
    bench.start()
    wait_until(lambda: bench.stream.pings > 0)
    wait_until(lambda: bench.stream.opened >= 2)


def test_a_silence_wakes_and_its_end_wakes_again(bench: FeedBench) -> None:
    bench.feed._watched = watched(max_silence_s=0.05)
    started(bench)

    def told() -> bool:
        bench.feed.notice_silence()
        return bench.woken()

    wait_until(told)
    bench.stream.bring(pulse())
    wait_until(bench.woken)


def test_every_connection_is_followed_by_a_reconciliation(bench: FeedBench) -> None:
    started(bench)
    wait_until(lambda: len(bench.venue.names("account_fills")) == 1)
    bench.stream.bring(END)
    wait_until(lambda: len(bench.venue.names("account_fills")) == 2)


def test_the_end_comes_at_once(bench: FeedBench) -> None:
    started(bench)
    bench.feed.stop()
    bench.feed.join(30)
    assert not bench.feed._thread.is_alive()
    assert not bench.reconciler._thread.is_alive()


def test_a_fill_of_an_unknown_market_asks_for_that_market(bench: FeedBench) -> None:
    bench.start()
    wait_until(lambda: bench.feed.standing == "streaming")
    bench.stream.bring(filled(fill("t1", symbol="ETH_USDC")))
    wait_until(lambda: "ETH_USDC" in bench.venue.about("instrument"))


def test_orders_of_the_stream_reach_the_ledgers_queue(bench: FeedBench) -> None:
    started(bench).stream.bring(filled(fill("t1")))
    wait_until(lambda: BookingQueue(bench.client).length() >= 2)
    kinds = {
        entry.text.split('"kind":"')[1].split('"')[0] for entry in BookingQueue(bench.client).oldest(100)
    }
    assert {"fill", "order"} <= kinds


def test_a_message_that_cannot_be_read_may_have_been_a_fill(
    bench: FeedBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing else may lead to a reconciliation.
    monkeypatch.setattr(account, "FROZEN_S", 1_000)
    started(bench)
    wait_until(lambda: bench.feeds.cursor(ACCOUNT, "fills") is not None)
    bench.venue.filled.append(fill("t1"))
    bench.stream.unreadable_messages += 1
    wait_until(lambda: fills_told(bench) == ["t1"])


def test_books_are_taken_away_with_the_connection_that_followed_them(bench: FeedBench) -> None:
    started(bench)
    wait_until(lambda: bench.market_data.read("backpack-simulated", SYMBOL) is not None)
    bench.stream.refusals += [StreamClosed("away")] * 50
    bench.stream.bring(END)
    wait_until(lambda: bench.market_data.read("backpack-simulated", SYMBOL) is None)


def test_books_are_taken_away_when_nothing_of_their_market_runs_any_more(bench: FeedBench) -> None:
    started(bench)
    wait_until(lambda: bench.market_data.read("backpack-simulated", SYMBOL) is not None)
    bench.feed.watch(watched(is_running=False))
    wait_until(lambda: bench.market_data.read("backpack-simulated", SYMBOL) is None)


def test_a_refused_subscription_is_no_stream(bench: FeedBench) -> None:
    started(bench)
    bench.stream.bring(StreamRefused(code=4004, message="Invalid signature"))
    wait_until(lambda: bench.stream.opened == 2)
    wait_until(lambda: len(bench.venue.names("account_fills")) == 2)


def test_a_fault_of_our_own_does_not_end_the_thread(
    bench: FeedBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    started(bench)
    failures = iter([ValueError("a bug")] * 2)
    tell = bench.teller.tell_updates

    def fail_twice(updates: Sequence[OrderUpdate]) -> None:
        for failure in failures:
            raise failure
        tell(updates)

    monkeypatch.setattr(bench.teller, "tell_updates", fail_twice)
    bench.stream.bring(filled(fill("t1")))
    wait_until(lambda: bench.stream.opened == 2)
    bench.stream.bring(filled(fill("t2")))
    wait_until(lambda: bench.stream.opened == 3)
    bench.stream.bring(filled(fill("t3")))
    wait_until(lambda: "t3" in fills_told(bench))
    assert bench.feed.is_alive


def test_a_market_that_cannot_be_read_is_asked_for_once(bench: FeedBench) -> None:
    bench.venue.always["instrument"] = lambda symbol: (
        bench.venue.the_instrument if symbol == SYMBOL else _refuse(symbol)
    )
    bench.venue.filled.append(fill("t1"))
    started(bench)
    for n in range(20):
        bench.stream.bring(filled(fill(f"x{n}", symbol="WEATHER_2027")))
    wait_until(lambda: "WEATHER_2027" in bench.venue.about("instrument"))
    bench.stream.bring(filled(fill("t2")))
    wait_until(lambda: fills_told(bench)[-1:] == ["t2"])
    assert "t1" in fills_told(bench)
    assert bench.venue.about("instrument").count("WEATHER_2027") == 1


def _refuse(symbol: str) -> None:
    raise Refused(f"{symbol} is a PREDICTION market")


def test_after_distrust_what_was_told_is_told_again(bench: FeedBench) -> None:
    bench.venue.filled.append(fill("t1"))
    started(bench)
    wait_until(lambda: fills_told(bench) == ["t1"])
    bench.feed.distrust()
    wait_until(lambda: fills_told(bench) == ["t1", "t1"])


def test_a_move_of_the_price_wakes_whoever_asked_behind_the_book_that_shows_it(bench: FeedBench) -> None:
    eager = replace(watched().instances[0], wake_on_move=WakeOnMove(move_bps=Decimal(1), spacing_s=0.2))
    bench.feed.watch(replace(watched(), instances=(eager,)))
    started(bench)

    def best_bid() -> Decimal | None:
        found = bench.market_data.read("backpack-simulated", SYMBOL)
        return None if found is None else found.book.best_bid

    wait_until(lambda: best_bid() == Decimal("99.9"))
    assert not bench.woken()
    bench.stream.bring(change(1, bid="99.98", at_ms=2_000_000))
    wait_until(bench.woken)
    assert best_bid() == Decimal("99.98")


def heard(bench: FeedBench, name: str) -> int:
    return int(bench.client.hget(keys.heard(ACCOUNT), name) or 0)


def test_a_stream_that_stands_and_lives_is_noted(bench: FeedBench) -> None:
    before_ms = bench.instances.now_ms()
    started(bench)
    assert heard(bench, SINCE) >= before_ms
    after_ms = bench.instances.now_ms()
    bench.stream.bring(pulse())
    wait_until(lambda: heard(bench, HEARD) >= after_ms)


def test_what_comes_late_is_noted_as_of_when_the_exchange_said_it(bench: FeedBench) -> None:
    """A fill may still be in the socket behind it."""
    started(bench).stream.bring(pulse(ago_ms=60_000))
    wait_until(lambda: heard(bench, HEARD) > 0)
    assert heard(bench, HEARD) <= bench.instances.now_ms() - 50_000


def test_nothing_is_noted_as_heard_without_the_exchanges_clock(
    bench: FeedBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.venue.the_clock, "known_ms", lambda: None)
    started(bench).stream.bring(pulse(), change(1, bid="99.98", at_ms=2_000_000))
    wait_until(lambda: bench.feed._newest_ms is None and bench.feed._noted_s > 0)
    assert heard(bench, HEARD) == 0


def test_a_change_of_what_is_watched_is_no_sign_of_life(
    bench: FeedBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With starts and stops all the time a dead stream was taken for a living one."""
    monkeypatch.setattr(account, "FROZEN_S", 0.5)
    monkeypatch.setattr(account, "NOTE_EVERY_S", 0.0)
    started(bench).stream.bring(pulse())
    wait_until(lambda: heard(bench, HEARD) > 0)
    heard_ms = heard(bench, HEARD)

    def changing() -> bool:
        bench.feed.watch(watched())
        return bench.stream.opened >= 2

    wait_until(changing)
    assert heard(bench, HEARD) in {0, heard_ms}


def test_the_stream_of_a_feed_that_takes_over_stands_when_the_one_before_it_ends(bench: FeedBench) -> None:
    started(bench)
    bench.hearing.begin(ACCOUNT, "the successor")
    bench.feed.stop()
    bench.feed.join(5)
    assert heard(bench, SINCE) > 0


def test_a_lost_stream_is_noted_and_the_next_one_stands_since_then(bench: FeedBench) -> None:
    started(bench)
    bench.stream.refusals += [StreamClosed("away")] * 50
    bench.stream.bring(END)
    wait_until(lambda: heard(bench, SINCE) == 0)
    bench.stream.refusals.clear()
    wait_until(lambda: heard(bench, SINCE) > 0)
    assert bench.stream.opened == 2


def test_a_stream_stands_no_longer_when_its_feed_ends(bench: FeedBench) -> None:
    started(bench)
    bench.feed.stop()
    bench.feed.join(30)
    assert heard(bench, SINCE) == 0


def test_a_message_that_cannot_be_read_breaks_a_stream(bench: FeedBench) -> None:
    started(bench)
    bench.client.hset(keys.heard(ACCOUNT), SINCE, 1)
    bench.stream.unreadable_messages += 1
    wait_until(lambda: heard(bench, SINCE) > 1)


def test_so_does_a_server_that_may_have_forgotten_something(bench: FeedBench) -> None:
    started(bench)
    bench.client.hset(keys.heard(ACCOUNT), SINCE, 1)
    bench.feed.distrust()
    assert heard(bench, SINCE) > 1


def test_a_feed_that_has_no_stream_does_not_say_that_one_stands(bench: FeedBench) -> None:
    bench.feed.distrust()
    assert heard(bench, SINCE) == 0


def test_mark_prices_are_kept_with_their_market(bench: FeedBench) -> None:
    started(bench).stream.bring(Pulse(symbol=SYMBOL, at_ms=0, mark_price=Decimal("101.5")))

    def kept() -> bool:
        streamed = bench.market_data.read("backpack-simulated", SYMBOL)
        return streamed is not None and streamed.mark_price == Decimal("101.5") and streamed.marked_at_ms > 0

    wait_until(kept)


def test_what_is_damaged_of_what_was_heard_is_begun_anew(bench: FeedBench) -> None:
    bench.client.set(keys.heard(ACCOUNT), "nothing")
    bench.start()
    wait_until(lambda: bench.feed.standing == "streaming")
    assert bench.client.type(keys.heard(ACCOUNT)) == "hash"

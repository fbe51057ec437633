"""A list of open orders that lags by more than an iteration hides no order from the stop."""

from __future__ import annotations

from dataclasses import replace

import pytest
import redis

from cli.stack.valkey import ValkeyServer
from market.orders import OpenOrder, Quote, Side
from market.snapshot import Snapshot
from runner.cleanup import run_cleanup
from state.stop_story import AcceptedLeft
from strategies.base import Decision, State
from tests.factories import ACCOUNT, INSTANCE_ID, SLOT, VERSION, loaded_instance, open_order, quote
from tests.integration.cleanup_bench import SETTINGS, WINDOW_MS
from tests.integration.runner_bench import RunnerBench

ONE_BID = (quote(Side.BUY, "99"),)


class Trader:
    """An instance whose quotes a test sets."""

    def __init__(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.quotes: tuple[Quote, ...] = ONE_BID
        instance = replace(loaded_instance(decide=self._decide, window_ms=WINDOW_MS), interval_ms=1)
        self.bench = RunnerBench(url, monkeypatch, instance, SETTINGS)
        self.venue = self.bench.venue

    def _decide(self, _: Snapshot, state: State) -> Decision[State]:
        return Decision(quotes=self.quotes, state=state)

    def list_shows(self, *orders: OpenOrder) -> None:
        """Let the exchange's list be this one from now on."""
        self.venue.always["open_orders"] = lambda _: orders


@pytest.fixture
def trader(redis_client: redis.Redis, valkey_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch) -> Trader:
    """A started instance."""
    return Trader(valkey_server.url, monkeypatch)


def test_an_order_that_no_list_shows_is_neither_doubled_nor_forgotten_by_the_stop(trader: Trader) -> None:
    # Given a list that stays empty while three iterations want the same order
    trader.list_shows()
    for tick in range(3):
        trader.bench.run(tick)
    assert len(trader.venue.resting) == 1
    # When it is stopped, and the list is empty still
    assert trader.bench.stop_and_clean_up().is_clean
    # Then nothing rests
    assert trader.venue.resting == {}


def test_an_order_that_no_list_shows_is_cancelled_when_it_is_not_wanted_any_more(trader: Trader) -> None:
    trader.list_shows()
    trader.bench.run(0)
    trader.quotes = ()
    trader.bench.run(1)
    assert trader.venue.resting == {}


def test_an_order_that_was_listed_and_is_no_more_is_not_asked_for(trader: Trader) -> None:
    trader.bench.run(0)
    trader.bench.run(1)
    trader.venue.hit(*trader.venue.resting)
    trader.quotes = ()
    trader.bench.run(2)
    trader.bench.stop_and_clean_up()
    assert trader.venue.names("cancel") == []


def test_an_order_that_nobody_told_of_is_found_by_id_behind_a_forced_start(trader: Trader) -> None:
    # Given an order that no list shows and nobody told of, in a run that is called failed
    bench = trader.bench
    trader.list_shows()
    bench.rest_own(open_order("untold", side=Side.BUY, price="99", level=0))
    bench.stop()
    bench.set_field("phase", "failed")
    # When another run is started by force, does nothing, and is stopped
    trader.quotes = ()
    started = bench.context.instances.start(
        INSTANCE_ID,
        config_version=VERSION,
        config_json="",
        slot=SLOT,
        account=ACCOUNT,
        by="test",
        accept=AcceptedLeft(epoch=1, left="?"),
    )
    assert started.epoch == 2
    bench.run(0, epoch=2)
    bench.stop()
    receipt = run_cleanup(bench.context, INSTANCE_ID, epoch=2, by="test")
    # Then nothing rests when it is called clean
    assert receipt is not None
    assert receipt.is_clean
    assert trader.venue.resting == {}

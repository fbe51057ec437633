"""Fills move strategies at once, and none is lost: real processes, a real server, streams over sockets."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from cli.stack.stack import ROOT
from ledger import queries
from market.orders import Role
from state import keys
from state.client_ids import decode
from state.feeds import Feeds
from tests.acceptance.simulated_exchange import DEPTH, fault
from tests.acceptance.world import World, assert_one_chain, eventually, holds_for, tell

pytestmark = pytest.mark.acceptance

SYMBOL = "SOL_USDC_PERP"
LONG_S = 60


@pytest.fixture
def market(world: World) -> Iterator[World]:
    """A world whose market is put back afterwards."""
    yield world
    world.exchange.move(SYMBOL, "150")


def hedge(world: World, instance_id: str, *, limits: dict[str, Any] | None = None, **params: Any) -> str:
    """Start a hedge whose next iteration is a minute away, and wait until its quotes rest and are heard."""
    content = {
        "metadata": {
            "instance_id": instance_id,
            "exchange": "backpack",
            "symbol": SYMBOL,
            "market_type": "perp",
            "strategy": "maker_hedge",
        },
        "exchange_config": {"default_window": 1000},
        "limits": limits or {},
        "strategy_config": {"quantity": "0.5", "interval": LONG_S, **params},
    }
    (world.config_dir / f"{instance_id}.json").write_text(json.dumps(content))
    world.start(instance_id)
    world.wait_for_orders(instance_id, 2)
    world.wait_for_stream(SYMBOL)
    return instance_id


def hedges(world: World, instance_id: str, since: int) -> list[Any]:
    slot = world.slot(instance_id)
    accepted = world.exchange.accepted(slot, since=since)
    return [entry for entry in accepted if decode(entry.client_id or 0).role is Role.HEDGE]


def iterations(world: World, instance_id: str, kind: str) -> int:
    trace = world.context.events.trace(instance_id)
    return sum(entry["event"] == "claimed" and entry["kind"] == kind for entry in trace)


def test_a_fill_is_hedged_at_once_though_the_next_iteration_is_a_minute_away(market: World) -> None:
    instance_id, since = hedge(market, "feed_hedge_01"), market.exchange.last_entry()
    market.exchange.trade(SYMBOL, "Ask", "149", "5")
    (order,) = eventually(lambda: hedges(market, instance_id, since), what="the hedge")
    fill_at_ms = market.exchange.fills(since=since)[0]["at_ms"]
    tell(f"fill to hedge: {order.at_ms - fill_at_ms} ms")
    assert order.at_ms - fill_at_ms < LONG_S * 1000 / 4
    market.stop(instance_id)
    assert_one_chain(market.context.events.trace(instance_id), lease_ms=market.stack.settings().lease_ms)


def test_a_burst_of_fills_makes_few_iterations_and_every_fill_is_hedged(market: World) -> None:
    instance_id, since = hedge(market, "feed_burst_01"), market.exchange.last_entry()
    price, others = _bid(market, instance_id)
    before = iterations(market, instance_id, "wake")
    with market.deaf():
        # All before anybody can answer, behind what others have at this price.
        market.exchange.trade(SYMBOL, "Ask", price, str(others))
        for _ in range(10):
            market.exchange.trade(SYMBOL, "Ask", price, "0.05")
    assert len(market.exchange.fills(since=since)) == 10

    def net() -> Decimal:
        return sum(
            (
                Decimal(f["quantity"]) * (1 if f["side"] == "Bid" else -1)
                for f in market.exchange.fills(since=since)
            ),
            Decimal(0),
        )

    eventually(lambda: net() == 0, what="everything hedged")
    assert 1 <= iterations(market, instance_id, "wake") - before <= 5
    market.stop(instance_id)


def _bid(world: World, instance_id: str) -> tuple[str, Decimal]:
    """Return the price of the instance's bid, and what others have there."""
    (bid,) = [order for order in _own(world, instance_id) if order["side"] == "Bid"]
    depth = world.exchange._call("GET", "/api/v1/depth", params={"symbol": SYMBOL, "limit": "100"})
    (shown,) = [Decimal(size) for price, size in depth["bids"] if Decimal(price) == Decimal(bid["price"])]
    return bid["price"], shown - Decimal(bid["quantity"])


def _own(world: World, instance_id: str) -> list[dict[str, Any]]:
    orders: list[dict[str, Any]] = world.exchange._call("GET", "/sim/orders", params={"account": "demo"})
    slot = world.slot(instance_id)
    return [order for order in orders if (order["client_id"] or 0) >> 20 == slot]


def test_where_nothing_happens_but_on_the_market_iterations_ask_for_nothing(market: World) -> None:
    instance_id = hedge(market, "feed_calm_01", interval="0.5")
    # Now and then, far from the best price: the book is one of now, and nothing has to be done about it.
    prices = cycle(("145", None, None, None))
    seen = ("", 0)

    def is_calm() -> bool:
        nonlocal seen
        price = next(prices)
        if price:
            market.exchange.rest(account="other", side="Bid", price=price, quantity="0.1", symbol=SYMBOL)
        look = str(market.context.client.hget(keys.record(instance_id), "look"))
        seq = market.record(instance_id).seq
        if look != seen[0]:
            seen = look, seq
        return seq - seen[1] >= 3

    eventually(is_calm, what="iterations that know without asking")
    assert market.stop(instance_id).is_clean


def test_without_a_feed_a_fill_is_hedged_by_the_next_iteration(market: World) -> None:
    instance_id, since = hedge(market, "feed_off_01", interval="1"), market.exchange.last_entry()
    with market.deaf():
        market.exchange.trade(SYMBOL, "Ask", "149", "5")
        eventually(lambda: hedges(market, instance_id, since), what="the hedge")
    assert iterations(market, instance_id, "tick") > 0
    market.stop(instance_id)


def test_a_fill_during_a_cleanup_is_booked_and_creates_no_order_but_the_last_hedge(market: World) -> None:
    instance_id = hedge(market, "feed_late_01")
    since = market.exchange.last_entry()
    # The first cancels do not arrive, so that orders still rest while the cleanup works.
    market.exchange.set_faults(fault("DELETE /api/v1/order", "error"))
    asked = market.request_stop(instance_id)
    market.exchange.trade(SYMBOL, "Ask", "149", "5")
    market.exchange.clear_faults()
    outcome = market.wait_stopped(instance_id)
    assert outcome.is_clean
    (fill,) = [f for f in market.exchange.fills(since=since) if decode(f["client_id"]).role is Role.QUOTE]
    assert fill["at_ms"] >= asked.at_ms
    roles = {
        decode(entry.client_id or 0).role
        for entry in market.exchange.accepted(market.slot(instance_id), since=since)
    }
    assert roles <= {Role.CLEANUP}
    happened = sorted(str(f["trade_id"]) for f in market.exchange.fills(since=since))
    eventually(lambda: _booked(market, instance_id) == happened, what="every fill in the ledger, once")


def test_a_stopped_instance_is_not_woken_by_what_still_happens(market: World) -> None:
    instance_id = hedge(market, "feed_stopped_01")
    market.stop(instance_id)
    since = market.exchange.last_entry()
    market.context.own_fills.wake(instance_id)
    holds_for(
        lambda: market.exchange.accepted(market.slot(instance_id), since=since) == [],
        1.0,
        what="no order of a stopped instance",
    )


def test_frozen_market_data_ends_quoting_within_the_limit_and_its_return_resumes_it(market: World) -> None:
    # Given an instance that minds data older than two seconds, and does not look by itself for a minute
    instance_id = hedge(market, "feed_frozen_01", limits={"max_data_age_s": 2})
    market.exchange.set_faults(fault(DEPTH, "error"))
    market.exchange.set_stream_faults({"kind": "freeze", "stream": "*"})
    frozen_s = time.monotonic()
    # Then its orders go
    eventually(lambda: _own(market, instance_id) == [], what="no quote on stale data")
    tell(f"quotes withdrawn {time.monotonic() - frozen_s:.1f} s after the data froze (limit 2 s)")
    holds_for(lambda: _own(market, instance_id) == [], 1.0, what="no quote on stale data")
    # And come back with the data
    market.exchange.clear_faults()
    market.exchange.clear_stream_faults()
    back_s = time.monotonic()
    market.wait_for_orders(instance_id, 2)
    tell(f"quoting again {time.monotonic() - back_s:.1f} s after the data came back")
    assert iterations(market, instance_id, "tick") <= 2
    assert market.record(instance_id).errors == 0
    market.stop(instance_id)


def test_when_one_of_two_feeds_is_killed_the_other_takes_over_and_no_fill_is_missed(market: World) -> None:
    instance_id = hedge(market, "feed_takeover_01")
    since = market.exchange.last_entry()
    with SecondFeed(market) as second:
        holder = market.stack.processes["feed"]
        holder.release()
        try:
            holder.kill()
            killed_s = time.monotonic()
            # In the gap: only histories know of it.
            market.exchange.trade(SYMBOL, "Ask", "149", "5")
            eventually(lambda: _accounts(market, second) >= 1, what="the other feed took the account")
            tell(f"taken over {time.monotonic() - killed_s:.1f} s after the kill")
            eventually(lambda: hedges(market, instance_id, since), what="the hedge of the missed fill")
        finally:
            holder.start()
    market.stop(instance_id)
    happened = sorted(str(f["trade_id"]) for f in market.exchange.fills(since=since))
    eventually(lambda: _booked(market, instance_id) == happened, what="every fill in the ledger, once")


def _booked(world: World, instance_id: str) -> list[str]:
    with world.ledger() as ledger:
        return sorted(each.trade_id for each in queries.fills(ledger, instance_id))


def test_a_feed_that_is_asked_to_end_closes_gives_up_and_is_gone_at_once(market: World) -> None:
    hedge(market, "feed_end_01")
    with SecondFeed(market) as second:
        market.stack.processes["feed"].send(signal.SIGSTOP)
        try:
            eventually(lambda: _accounts(market, second) >= 1, what="the other feed took the account")
            begun_s = time.monotonic()
            second.terminate()
            assert second.wait(60) == 0
            tell(f"ended {time.monotonic() - begun_s:.2f} s after SIGTERM")
            leases = list(market.context.client.scan_iter(f"{keys.PREFIX}:feed:lease:*"))
            assert leases == []
        finally:
            market.stack.processes["feed"].send(signal.SIGCONT)


class SecondFeed:
    """Another feed process beside the stack's own."""

    def __init__(self, world: World) -> None:
        spec = world.stack.processes["feed"].spec
        self._log = (world.stack.log_dir / "feed-2.log").open("ab")
        self._process = subprocess.Popen(
            [sys.executable, str(ROOT / "manage.py"), "feed"],
            cwd=ROOT,
            env=dict(spec.environ),
            stdout=self._log,
            stderr=self._log,
        )
        self._world = world

    def __enter__(self) -> subprocess.Popen[bytes]:
        eventually(lambda: _accounts(self._world, self._process) >= 0, what="the second feed")
        return self._process

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(60)
        self._log.close()


def _accounts(world: World, process: subprocess.Popen[bytes]) -> int:
    """Return how many accounts a feed process has, -1 before it has said anything."""
    now_ms = world.context.instances.now_ms()
    feeds = Feeds(world.context.client, world.context.scripts)
    for each in feeds.processes(now_ms=now_ms):
        if each.name.endswith(f":{process.pid}"):
            return len(each.accounts)
    return -1


def test_the_ledger_is_where_the_stack_says(market: World) -> None:
    assert Path(market.stack.ledger_url.removeprefix("sqlite:///")).is_file()

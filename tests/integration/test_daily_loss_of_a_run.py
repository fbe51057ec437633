"""The day's loss ends a run, goes on over its end, and counts what the unwinding cost."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import pytest
import redis

from cli.stack.valkey import ValkeyServer
from market.orders import Quote, Side
from market.snapshot import Snapshot
from state.record import Phase
from state.stop_story import StopCause
from strategies.base import Decision, State
from strategies.limits import Limits
from tests.factories import loaded_instance, quote
from tests.integration.cleanup_bench import SETTINGS
from tests.integration.runner_bench import RunnerBench

QUOTES: tuple[Quote, ...] = (quote(Side.BUY, "99"),)


@pytest.fixture
def bench(
    redis_client: redis.Redis, valkey_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> RunnerBench:
    """A run that may lose five a day; its bid at 99 is below a mid of 100."""

    def decide(_: Snapshot, state: State) -> Decision[State]:
        return Decision(quotes=QUOTES, state=state)

    instance = replace(loaded_instance(decide=decide), limits=Limits(max_daily_loss=Decimal(5)))
    return RunnerBench(valkey_server.url, monkeypatch, instance, SETTINGS)


def buy_and_fall(bench: RunnerBench, to: str) -> None:
    """Buy one at 99 and let the market fall around `to`."""
    bench.run(None)
    (order_id,) = bench.venue.resting
    bench.venue.hit(order_id)
    bench.venue.bid, bench.venue.ask = Decimal(to) - 1, Decimal(to) + 1


def test_a_loss_below_the_limit_lets_the_run_go_on(bench: RunnerBench) -> None:
    buy_and_fall(bench, "94.5")
    bench.run(None)
    assert bench.phase is Phase.RUNNING


def test_a_loss_of_the_day_ends_the_run_with_the_figures(bench: RunnerBench) -> None:
    buy_and_fall(bench, "94")
    bench.run(None)
    assert bench.phase is Phase.STOPPING
    assert bench.record.stop_reason.startswith("daily loss 5.00 reached max_daily_loss 5; it ends on ")
    assert bench.cause_of_its_stop == StopCause.LOSS


def test_a_run_started_again_on_the_same_day_ends_at_once(bench: RunnerBench) -> None:
    buy_and_fall(bench, "94")
    bench.run(None)
    bench.clean_up()
    bench.start()
    bench.run(None, epoch=2)
    assert bench.phase is Phase.STOPPING
    assert bench.record.epoch == 2


def test_a_new_day_begins_without_the_loss(bench: RunnerBench) -> None:
    buy_and_fall(bench, "94")
    bench.run(None)
    bench.clean_up()
    daily = json.loads(bench.field("daily") or "")
    bench.set_field("daily", json.dumps(daily | {"day": "2020-01-01"}))
    bench.start()
    bench.run(None, epoch=2)
    assert bench.phase is Phase.RUNNING

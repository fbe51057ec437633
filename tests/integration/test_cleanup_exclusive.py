"""A cancel-all that nobody is sure of does not let a lagging list hide an order."""

from __future__ import annotations

import pytest
import redis

from cli.stack.valkey import ValkeyServer
from exchanges.errors import OutcomeUnknown
from tests.factories import loaded_instance, open_order
from tests.integration.cleanup_bench import SETTINGS, WINDOW_MS
from tests.integration.runner_bench import RunnerBench


def test_orders_that_a_failed_cancel_all_left_are_cancelled_by_id_even_if_no_list_shows_them(
    redis_client: redis.Redis, valkey_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = loaded_instance(window_ms=WINDOW_MS, exclusive_symbol=True)
    bench = RunnerBench(valkey_server.url, monkeypatch, instance, SETTINGS)
    bench.venue.rest(open_order("hidden"))
    bench.knows("hidden")
    bench.venue.always["cancel_all"] = OutcomeUnknown("no answer")
    bench.venue.always["open_orders"] = lambda _: ()
    assert bench.stop_and_clean_up().is_clean
    assert bench.venue.resting == {}

"""Benches on the real server."""

from __future__ import annotations

import pytest
import redis

from cli.stack.valkey import ValkeyServer
from tests.integration.state_bench import StateBench
from tests.integration.trader import Trader


@pytest.fixture
def bench(redis_client: redis.Redis) -> StateBench:
    """A running instance at tick 0, due now, under a clock that stands still."""
    return StateBench(redis_client)


@pytest.fixture
def trader(redis_client: redis.Redis, valkey_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch) -> Trader:
    """A started run."""
    return Trader(valkey_server.url, monkeypatch)

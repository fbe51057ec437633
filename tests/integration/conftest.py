"""Benches on the real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from cli.stack.valkey import ValkeyServer
from runner import loaded
from tests.integration.damage_bench import DamageBench
from tests.integration.runner_bench import RunnerBench
from tests.integration.state_bench import StateBench
from tests.integration.trader import Trader
from tests.integration.web_bench import WebBench


@pytest.fixture(autouse=True)
def _close_connections() -> Iterator[None]:
    yield
    while RunnerBench.clients:
        RunnerBench.clients.pop().close()


@pytest.fixture
def bench(redis_client: redis.Redis) -> StateBench:
    """A running instance at tick 0, due now, under a clock that stands still."""
    return StateBench(redis_client)


@pytest.fixture
def trader(redis_client: redis.Redis, valkey_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch) -> Trader:
    """A started run."""
    return Trader(valkey_server.url, monkeypatch)


@pytest.fixture
def damaged(
    redis_client: redis.Redis, valkey_server: ValkeyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[DamageBench]:
    """Instances with files, none started."""
    monkeypatch.setattr(loaded, "_known", {})
    bench = DamageBench(valkey_server.url, tmp_path)
    yield bench
    bench.client.close()


@pytest.fixture
def web(redis_client: redis.Redis, valkey_server: ValkeyServer, tmp_path: Path) -> Iterator[WebBench]:
    """A dashboard of its own server, to which nobody has logged in."""
    bench = WebBench(valkey_server.url, tmp_path)
    yield bench
    bench.end()

"""Benches on the real server."""

from __future__ import annotations

import pytest
import redis

from tests.integration.state_bench import StateBench


@pytest.fixture
def bench(redis_client: redis.Redis) -> StateBench:
    """A running instance at tick 0, due now, under a clock that stands still."""
    return StateBench(redis_client)

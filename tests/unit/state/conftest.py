"""A state server in memory, with a clock that a test moves."""

from __future__ import annotations

import fakeredis
import pytest
import redis

from state.scripts import Scripts
from tests.store_clock import StoreClock


@pytest.fixture
def client() -> redis.Redis:
    """A server in memory, with nothing in it."""
    return fakeredis.FakeRedis(decode_responses=True)


@pytest.fixture
def clock(client: redis.Redis) -> StoreClock:
    """The server's clock."""
    return StoreClock(client)


@pytest.fixture
def scripts(clock: StoreClock) -> Scripts:
    """The scripts, under that clock."""
    return clock.scripts

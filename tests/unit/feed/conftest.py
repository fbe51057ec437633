"""A feed without a network, for each test a new one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from tests.unit.feed.feed_bench import FeedBench


@pytest.fixture
def bench(redis_client: redis.Redis) -> Iterator[FeedBench]:
    """One account; its threads end with the test."""
    bench = FeedBench(redis_client)
    yield bench
    bench.stop()

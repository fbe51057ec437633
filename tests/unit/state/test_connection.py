"""How many servers could lead, by the word of the Sentinels."""

from __future__ import annotations

from typing import Any

import fakeredis
import pytest
import redis

from state.connection import connect, servers_watched

URL = "sentinel://a:1;sentinel://b:2;sentinel://c:3/0?master_name=cleanbook"


class Sentinel:
    """Says what a test says; an exception is raised."""

    def __init__(self, said: Any) -> None:
        self._said = said

    def sentinel_masters(self) -> Any:
        """Answer."""
        if isinstance(self._said, Exception):
            raise self._said
        return self._said


def watching(replicas: int) -> dict[str, dict[str, int]]:
    return {"cleanbook": {"num-slaves": replicas}, "another": {"num-slaves": 9}}


@pytest.mark.parametrize(
    ("said", "servers"),
    [
        # One that began a moment ago, or is away, knows less: the most counts.
        ([watching(0), watching(2), redis.ConnectionError("away")], 3),
        ([watching(2), watching(3), watching(2)], 4),
        ([redis.TimeoutError("frozen")] * 3, 0),
        ([{"another": {"num-slaves": 9}}] * 3, 0),
    ],
)
def test_the_most_that_a_sentinel_watches_counts(said: list[Any], servers: int) -> None:
    with connect(URL) as client:
        manager: Any = client.connection_pool.sentinel_manager
        manager.sentinels = [Sentinel(each) for each in said]
        assert servers_watched(client) == servers


def test_a_server_of_its_own_is_watched_by_nobody() -> None:
    assert servers_watched(fakeredis.FakeRedis()) == 0

"""How many messages were refused, and why: a refused message leaves no other trace than a line in a log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import redis

from state import keys


def count_refusals(client: redis.Redis, counts: Mapping[str, int]) -> None:
    """Add to the counters; one round trip, whatever there is to add."""
    with client.pipeline(transaction=False) as pipeline:
        for reason, count in counts.items():
            pipeline.hincrby(keys.REFUSED, reason, count)
        pipeline.execute()


def read_refusals(client: redis.Redis) -> dict[str, int]:
    """Return how many messages were refused so far, by reason."""
    found = cast("dict[str, str]", client.hgetall(keys.REFUSED))
    return {reason: int(count) for reason, count in sorted(found.items())}

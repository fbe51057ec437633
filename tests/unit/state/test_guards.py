"""What is known of guards."""

from __future__ import annotations

from dataclasses import replace

import pytest
import redis

from state import keys
from state.guards import SILENT_MS, GuardProcess, Guards

GUARD = GuardProcess(
    name="host:1", after_s=30.0, watched=2, silent=("a",), accounts={"acc": "ready"}, seen_at_ms=1_000
)


def test_a_heartbeat_counts_for_so_long(client: redis.Redis) -> None:
    guards = Guards(client)
    guards.heartbeat(GUARD)
    assert guards.processes(now_ms=1_000 + SILENT_MS) == (GUARD,)
    assert guards.processes(now_ms=1_001 + SILENT_MS) == ()


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"at_ms": 1000, "accounts": []}'])
def test_one_that_cannot_be_read_hides_no_other(client: redis.Redis, text: str) -> None:
    guards = Guards(client)
    guards.heartbeat(GUARD)
    client.hset(keys.GUARDS, "another version", text)
    assert guards.processes(now_ms=1_000) == (GUARD,)


def test_one_that_ended_is_forgotten_and_no_other(client: redis.Redis) -> None:
    guards = Guards(client)
    for name in ("host:1", "host:2"):
        guards.heartbeat(replace(GUARD, name=name))
    guards.forget("host:2")
    assert guards.processes(now_ms=1_000) == (GUARD,)

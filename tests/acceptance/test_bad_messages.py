"""Whatever lies in a queue: it is refused and counted, the worker lives, and the next good message runs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from state.refusals import read_refusals
from tests.acceptance.world import World, eventually
from tests.raw_messages import bad_messages, message

pytestmark = pytest.mark.acceptance

PICKLE_WAS_RUN = Path("/tmp/cleanbook-pickle-was-run")


def worker_pids(world: World) -> dict[str, Any]:
    return {name: world.stack.processes[name].pid for name in ("iterate", "cleanup")}


@pytest.mark.parametrize("queue", ["cleanup", "iterate"])
def test_bad_messages_are_refused_and_counted_and_end_no_worker(world: World, queue: str) -> None:
    client, before, pids = world.context.client, read_refusals(world.context.client), worker_pids(world)
    PICKLE_WAS_RUN.unlink(missing_ok=True)
    expected = Counter(before)
    for _, reason, raw in bad_messages():
        client.lpush(queue, raw)
        expected[reason] += 1
    eventually(
        lambda: Counter(read_refusals(client)) == expected,
        what=lambda: f"{expected} refused: {read_refusals(client)}",
    )
    assert client.llen(queue) == 0
    assert client.hlen("unacked") == 0, "a refused message must not come again"
    assert worker_pids(world) == pids
    assert not PICKLE_WAS_RUN.exists()
    # Both kinds of task still run.
    world.run(f"after_{queue}_01")
    assert world.stop(f"after_{queue}_01").is_clean


def bad_broadcasts() -> Iterator[bytes]:
    """Yield what no worker may stumble over: bad messages, and good ones with a bad command."""
    yield from (raw for _, _, raw in bad_messages())
    command: dict[str, Any] = {
        "method": "ping",
        "arguments": {},
        "destination": None,
        "pattern": None,
        "matcher": None,
    }
    wrong: tuple[dict[str, Any], ...] = (
        {"method": None},
        {"method": "no_such_command"},
        {"method": ["ping"]},
        {"arguments": "text"},
        {"destination": 5},
        {"pattern": "(a+)+$", "matcher": "pcre"},
        {"reply_to": "text", "ticket": "x"},
    )
    for part in wrong:
        yield json.dumps(message(body=json.dumps(command | part).encode())).encode()
    for clock in ("soon", -1, 10**30):
        yield json.dumps(message(body=json.dumps(command).encode(), headers={"clock": clock})).encode()


def test_a_broadcast_of_any_form_leaves_every_worker_listening(world: World) -> None:
    client, pids = world.context.client, worker_pids(world)
    before = read_refusals(client)
    raws = list(bad_broadcasts())
    for raw in raws:
        assert client.publish("/0.celery.pidbox", raw) == 2, "both workers listen"

    def refused() -> int:
        return sum(read_refusals(client).values()) - sum(before.values())

    eventually(lambda: refused() == 2 * len(raws), what="each refused by both workers")
    assert worker_pids(world) == pids
    with Celery("test", broker=world.stack.broker_url, set_as_current=False) as anybody:
        eventually(lambda: len(anybody.control.ping(timeout=2)) == 2, what="an answer of both")


def test_a_flood_writes_few_lines(world: World) -> None:
    client, log_file = world.context.client, world.stack.processes["cleanup"].log_file
    before, size = read_refusals(client).get("envelope", 0), log_file.stat().st_size
    for _ in range(20):
        client.lpush("cleanup", *[b"nonsense"] * 100)
    eventually(
        lambda: read_refusals(client).get("envelope", 0) == before + 2000, what="2000 refused messages"
    )
    assert log_file.stat().st_size - size < 4_000

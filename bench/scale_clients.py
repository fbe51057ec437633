"""What workers, sweepers and feeds ask of the state server, each from a process of its own, without the rest.

The scripts and reads are the real ones. Messages are commands as Celery's transport sends them, for a body as
long as ours. What is left out is what costs the server nothing: deciding, signing, asking the exchange.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import redis

from bench.scale_state import INTERVAL_MS, ITERATIONS, SYMBOL, VENUE, operations
from runner.context import open_context
from runner.publisher import Iteration
from runner.schedule import sweep, sweep_one
from settings import Settings
from state import keys
from state.connection import connect
from state.leases import Lease, Place
from state.queues import iterate_queue

#: About what a message of ours has in characters.
MESSAGE = "x" * 950
QUEUES = 16


@dataclass(frozen=True, kw_only=True)
class Iterated:
    """What the iterations of one process came to."""

    iterations: int
    seconds: float


@dataclass(kw_only=True)
class Swept:
    """What one sweeper did."""

    rounds: int = 0
    seconds: float = 0.0
    #: By instance: when its first message was sent (monotonic, s; one clock for the machine).
    sent_s: dict[str, float] = field(default_factory=dict)


class Messages:
    """A publisher whose messages nobody takes."""

    def __init__(self, client: redis.Redis, sent_s: dict[str, float]) -> None:
        self._client = client
        self._sent_s = sent_s

    def publish_iteration(self, iteration: Iteration) -> None:
        """Send a message as long as one of ours."""
        self._client.lpush(iterate_queue(iteration.account, QUEUES), MESSAGE)
        self._sent_s.setdefault(iteration.instance_id, time.monotonic())

    def publish_cleanup(self, instance_id: str, epoch: int) -> None:
        """Refuse: nothing is stopped here."""
        raise AssertionError(f"a cleanup of {instance_id} in run {epoch}")

    def revoke(self, task_id: str) -> None:
        """Refuse: nothing is stopped here."""
        raise AssertionError(f"a revoke of {task_id}")

    def interrupt(self, task_id: str) -> None:
        """Refuse: nothing is stopped here."""
        raise AssertionError(f"an interrupt of {task_id}")


def iterate(url: str, names: Sequence[str], accounts: Sequence[str], until_s: float) -> Iterated:
    """Run iterations that find nothing to do, one after the other, until `until_s` (monotonic)."""
    broker = connect(url)
    _, leases, _ = operations(connect(url))
    began_s, count = time.monotonic(), 0
    for name, account in zip(names, accounts, strict=True):
        if time.monotonic() >= until_s:
            break
        queue = iterate_queue(account, QUEUES)
        _send(broker, queue)
        _take(broker, queue, name)
        place = Place(venue=VENUE, symbol=SYMBOL, account=account)
        lease = leases.claim(name, epoch=1, tick=ITERATIONS, task_id=name, place=place)
        assert isinstance(lease, Lease), f"{name}: {lease}"
        leases.commit(
            lease,
            resolved=True,
            state_json=lease.state_json,
            interval_ms=INTERVAL_MS,
            next_task_id=name,
            books_json=lease.books_json,
            intents={},
        )
        count += 1
    return Iterated(iterations=count, seconds=time.monotonic() - began_s)


def keep_sweeping(url: str, until_s: float, lost_at_ms: int = 0) -> Swept:
    """Sweep as a worker does until `until_s` (monotonic), or until nobody is overdue since `lost_at_ms`."""
    context = open_context(Settings(broker_url=url, state_url=url))
    done = Swept()
    publisher = Messages(connect(url), done.sent_s)
    began_s = time.monotonic()
    while time.monotonic() < until_s:
        sweep(context, publisher)
        done.rounds += 1
        if lost_at_ms and not context.client.zcount(keys.DUE, "-inf", lost_at_ms):
            break
        called = context.due.wait(timeout_s=context.settings.sweep_interval_s)
        if called is not None:
            sweep_one(context, publisher, called)
    done.seconds = time.monotonic() - began_s
    return done


def keep_waking(url: str, names: Sequence[str], per_s: float, until_s: float) -> dict[str, float]:
    """Ask for wake-ups as a feed does when an order is filled; return when, by instance (monotonic, s)."""
    _, _, own_fills = operations(connect(url))
    asked_s: dict[str, float] = {}
    began_s = time.monotonic()
    for number, name in enumerate(names):
        time.sleep(max(0.0, began_s + number / per_s - time.monotonic()))
        if time.monotonic() >= until_s:
            break
        asked_s[name] = time.monotonic()
        own_fills.wake(name)
    return asked_s


def _send(broker: redis.Redis, queue: str) -> None:
    """Send a message as kombu does."""
    broker.smembers("_kombu.binding.iterate")
    broker.lpush(queue, MESSAGE)


def _take(broker: redis.Redis, queue: str, tag: str) -> None:
    """Take and acknowledge a message as kombu does."""
    broker.brpop([queue], timeout=1)
    noted = broker.pipeline()
    noted.zadd("unacked_index", {tag: time.time()})
    noted.hset("unacked", tag, MESSAGE)
    noted.execute()
    acknowledged = broker.pipeline()
    acknowledged.zrem("unacked_index", tag)
    acknowledged.hdel("unacked", tag)
    acknowledged.execute()

"""Commands to the state server: whose they are, and how many trips one iteration makes."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis
from redis.connection import Connection

from bench.process_usage import ports

#: What the keys of the project begin with.
OURS = "cleanbook:"


@dataclass(frozen=True, kw_only=True)
class Commands:
    """What was seen of a while, by the command's name."""

    #: Sent by pool processes for keys of ours; scripts count once.
    ours: Counter[str]
    #: Sent by pool processes for Celery: messages.
    celery: Counter[str]
    #: Sent by the worker's main process for Celery: taking and acknowledging messages.
    main_celery: Counter[str]
    #: Sent by the worker's main process for keys of ours: the sweep, signs of life.
    main_ours: Counter[str]
    #: Within scripts, whoever ran them.
    within_scripts: int


def watch(client: redis.Redis, pids: Sequence[int], duration_s: float) -> Commands:
    """Listen to all commands for a while; `pids` are a worker's processes, the main one first."""
    main_ports = ports(pids[0])
    child_ports = frozenset[int]().union(*(ports(pid) for pid in pids[1:])) - main_ports
    counts = Commands(
        ours=Counter(), celery=Counter(), main_celery=Counter(), main_ours=Counter(), within_scripts=0
    )
    within, end_s = 0, time.monotonic() + duration_s
    with client.monitor() as monitor:  # type: ignore[no-untyped-call]
        for seen in monitor.listen():
            if time.monotonic() > end_s:
                break
            if seen["client_type"] == "lua":
                within += 1
                continue
            port = int(seen["client_port"] or 0)
            is_ours = OURS in seen["command"]
            name = str(seen["command"]).split(" ", 1)[0]
            if port in main_ports:
                (counts.main_ours if is_ours else counts.main_celery)[name] += 1
            elif port in child_ports:
                (counts.ours if is_ours else counts.celery)[name] += 1
    return Commands(
        ours=counts.ours,
        celery=counts.celery,
        main_celery=counts.main_celery,
        main_ours=counts.main_ours,
        within_scripts=within,
    )


def per_iteration(counts: Mapping[str, int], iterations: int) -> float:
    """Return how many there are for each iteration."""
    return sum(counts.values()) / max(1, iterations)


class Trips:
    """Counts how often a client sends something and waits for its answer: a pipeline is one trip."""

    def __init__(self, client: redis.Redis) -> None:
        """Count from the client's next connection on; there must be none yet."""
        self.count = 0
        self._lock = threading.Lock()
        trips = self

        class Counting(Connection):
            def send_packed_command(self, command: Any, check_health: bool = True) -> None:
                with trips._lock:
                    trips.count += 1
                super().send_packed_command(command, check_health=check_health)  # type: ignore[no-untyped-call]

        client.connection_pool.connection_class = Counting

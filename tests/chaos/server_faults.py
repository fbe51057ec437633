"""Faults of the servers and of the ledger's disk: killed, frozen, emptied, messages twice, disk full."""

from __future__ import annotations

import base64
import contextlib
import json
import resource
import signal
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import redis

from tests.chaos.faults import Fault, World
from tests.chaos.plant import FEED
from tests.chaos.process_faults import Killed

#: Messages that one occurrence delivers, besides copies of those that wait.
MADE_UP = 40
#: A file of the feed may not grow beyond this: less than any page it could write.
FULL_BYTES = 4096


@dataclass(kw_only=True)
class ServerKilled(Killed):
    """SIGKILL of a server; it comes back with its append-only file."""

    away_s: float = 1.0

    def begin(self, world: World) -> None:
        """Kill it, and keep it away for a while."""
        super().begin(world)
        world.plant.hold_back(self.target, self.away_s)
        self.detail += f", away for {self.away_s:.1f} s"


@dataclass(kw_only=True)
class Unreachable(Fault):
    """A server that takes connections and answers nothing: frozen by SIGSTOP."""

    targets: tuple[str, ...]

    def begin(self, world: World) -> None:
        """Freeze it."""
        self.detail = f"{' and '.join(self.targets)} for {self.hold_s:.1f} s"
        for name in self.targets:
            world.plant.processes[name].send(signal.SIGSTOP)

    def end(self, world: World) -> None:
        """Let it answer, also what was asked meanwhile by those who have gone."""
        for name in self.targets:
            world.plant.processes[name].send(signal.SIGCONT)


@dataclass(kw_only=True)
class BrokerFlushed(Fault):
    """Every message lost at once."""

    def begin(self, world: World) -> None:
        """`FLUSHALL`."""
        with contextlib.closing(world.broker()) as client:
            try:
                lost = client.dbsize()
                client.flushall()
                self.detail = f"{lost} keys lost"
            except redis.RedisError as error:
                self.detail = f"not flushed: {error}"


@dataclass(kw_only=True)
class Duplicates(Fault):
    """Messages delivered again: copies of real ones, and old and new ones for every instance."""

    def begin(self, world: World) -> None:
        """Publish them."""
        with contextlib.closing(world.broker()) as client, contextlib.closing(world.state()) as state:
            try:
                waiting = list(cast("dict[str, str]", client.hgetall("unacked")).values())
                copies = [json.loads(text) for text in waiting]
                for message, _, queue in copies:
                    client.lpush(queue, json.dumps(message))
                made = 0
                if copies:
                    for queue, message in self._made_up(world, copies[0][0], state):
                        client.lpush(queue, json.dumps(message))
                        made += 1
                self.detail = f"{len(copies)} copies, {made} made up"
            except redis.RedisError as error:
                self.detail = f"not published: {error}"

    def _made_up(
        self, world: World, template: dict[str, Any], state: redis.Redis
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        names = sorted(world.people.slots().values())
        for _ in range(MADE_UP):
            name, dice = self.dice.choice(names), self.dice
            record = cast("list[str | None]", state.hmget(f"cleanbook:{{{name}}}:record", ["epoch", "tick"]))
            epoch = max(1, int(record[0] or 1) - dice.choice((0, 0, 0, 1, 2)))
            if dice.random() < 0.25:
                yield "cleanup", made_up_message(template, "cleanup", [name, epoch])
                continue
            tick = dice.choice(
                (None, None, 0, *(int(record[1] or 0) + change for change in (-1, 0, 0, 1, 2)))
            )
            yield "iterate", made_up_message(template, "iterate", [name, epoch, tick])


def made_up_message(template: dict[str, Any], queue: str, arguments: list[Any]) -> dict[str, Any]:
    """Return a message like `template` that asks for another task, at once."""
    _, *rest = json.loads(base64.b64decode(template["body"]))
    task_id = str(uuid.uuid4())
    properties = {
        **template["properties"],
        "correlation_id": task_id,
        "delivery_tag": str(uuid.uuid4()),
        "delivery_info": {**template["properties"]["delivery_info"], "routing_key": queue},
    }
    headers = {
        **template["headers"],
        "id": task_id,
        "root_id": task_id,
        "task": f"tasks.{queue}",
        "eta": None,
    }
    body = base64.b64encode(json.dumps([arguments, *rest]).encode()).decode()
    return {**template, "body": body, "headers": headers, "properties": properties}


@dataclass(kw_only=True)
class DiskFull(Fault):
    """The feed, which keeps the ledger, may not write another page (RLIMIT_FSIZE)."""

    def begin(self, world: World) -> None:
        """Let every write fail; also its log, which is on the same disk."""
        self.detail = f"feed cannot write for {self.hold_s:.1f} s"
        self._limit(world, FULL_BYTES)

    def end(self, world: World) -> None:
        """Let it write again."""
        self._limit(world, resource.RLIM_INFINITY)

    def _limit(self, world: World, limit: int) -> None:
        pid = world.plant.processes[FEED].pid
        with contextlib.suppress(ProcessLookupError):
            if pid is not None and world.plant.is_up(FEED):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

"""A fleet for benches: real server, feed and workers, an exchange that keeps orders, many instances."""

from __future__ import annotations

import base64
import contextlib
import json
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import redis
import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.feed_market import symbol_name
from bench.fleet_chain import Chain
from bench.rolling_workers import SWEPT, SupervisedWorker
from bench.venue_process import open_venue
from cli.stack.processes import ManagedProcess
from cli.stack.stack import ROOT, Stack, StackOptions
from runner.context import Context, open_context
from settings import environment
from state import keys

#: An account has 4095 slots, and its own limit of requests: a fleet has several.
ACCOUNTS = 10
SYMBOLS = 100
DEADLINE_S = 30.0
#: More than the instances can ask for: the budget is not what is measured.
REQUESTS_PER_MINUTE = "10000000"
PYTHON = sys.executable


class NotRunning(RuntimeError):
    """Raised when the fleet is not what it should be; figures would mean nothing."""


@dataclass(frozen=True, kw_only=True)
class Started:
    """How a start of many went."""

    instances: int
    #: The whole command, by the clock and on the CPU.
    command_s: float
    command_cpu_s: float
    #: From its begin until the first iteration of the last one was committed.
    all_ran_s: float


@dataclass(kw_only=True)
class Fleet:
    """What runs."""

    stack: Stack
    context: Context
    venue: ManagedProcess
    venue_url: str
    interval_s: float
    names: list[str]
    workers: list[SupervisedWorker]
    workers_so_far: int = 0

    def have_workers(self, count: int) -> None:
        """Let exactly so many workers serve iterations."""
        while len(self.workers) > count:
            self.workers.pop().stop()
        while len(self.workers) < count:
            self.workers_so_far += 1
            worker = SupervisedWorker(self.stack, self.context, f"fleet{self.workers_so_far}")
            worker.start()
            self.workers.append(worker)

    def grow(self, count: int) -> Started:
        """Have so many instances run, by the user's own command."""
        new = [_name(number) for number in range(len(self.names), count)]
        folder = self.stack.options.run_dir / "fleet"
        folder.mkdir(exist_ok=True)
        for name in new:
            content = _config(name, self.interval_s, self.venue_url)
            (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
        began_s, cpu_s = time.monotonic(), _children_cpu_s()
        command = (PYTHON, "manage.py", "apply", str(folder), "--yes", "--json")
        environ = dict(self.stack.processes["iterate"].spec.environ)
        done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
        command_s, cpu_s = time.monotonic() - began_s, _children_cpu_s() - cpu_s
        if done.returncode != 0:
            raise NotRunning(
                f"apply ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
            )
        self.names += new
        self._wait_for_first_iterations(new)
        return Started(
            instances=len(new),
            command_s=command_s,
            command_cpu_s=cpu_s,
            all_ran_s=time.monotonic() - began_s,
        )

    def requests_so_far(self) -> int:
        """Return how many questions and orders the exchange has had."""
        return self._told_by_exchange("requests")

    def orders_resting(self) -> int:
        """Return how many orders rest on the exchange."""
        return self._told_by_exchange("orders")

    def chains(self) -> dict[str, Chain]:
        """Return the chain of each instance as it stands now, to be followed."""
        return {
            name: Chain(
                instance_id=name,
                interval_ms=round(self.interval_s * 1000),
                lease_ms=self.context.settings.lease_ms,
                tick=int(tick),
                due_ms=int(due_ms),
                open_since_ms=int(until_ms) - self.context.settings.lease_ms if until_ms else None,
                open_token=token,
            )
            for name, (tick, due_ms, until_ms, token) in self.read_all(
                "tick", "due", "lease_until", "lease_token"
            ).items()
        }

    def overdue_ms(self) -> int:
        """Return how late the latest is that nobody works on."""
        now_ms = self.context.instances.now_ms()
        found = self.read_all("due", "lease_until").values()
        return max((now_ms - int(due_ms) for due_ms, until_ms in found if not until_ms), default=0)

    def read_all(self, *fields: str) -> dict[str, list[str]]:
        """Return fields of every instance's record."""
        pipeline = self.context.client.pipeline(transaction=False)
        for name in self.names:
            pipeline.hmget(keys.record(name), *fields)
        return dict(zip(self.names, cast("list[list[str]]", pipeline.execute()), strict=True))

    def traces(self, since_ms: int) -> dict[str, list[dict[str, str]]]:
        """Return what each instance claimed and committed since then."""
        pipeline = self.context.client.pipeline(transaction=False)
        for name in self.names:
            pipeline.xrange(keys.trace(name), min=since_ms)
        replies = cast("list[list[tuple[str, dict[str, str]]]]", pipeline.execute())
        return {name: [entry for _, entry in reply] for name, reply in zip(self.names, replies, strict=True)}

    def swept(self) -> Counter[str]:
        """Return how often an iteration of each had to be published by a sweep: first ones, overdue ones."""
        found: Counter[str] = Counter()
        for worker in self.workers:
            log = worker.process.log_file.read_text(errors="replace")
            found.update(json.loads(line)["instance"] for line in log.splitlines() if SWEPT in line)
        return found

    def _told_by_exchange(self, what: str) -> int:
        answer = requests.get(f"{self.venue_url}/fleet", timeout=5)
        return int(answer.json()[what])

    def _wait_for_first_iterations(self, new: Sequence[str]) -> None:
        before, deadline_s = len(new) + 1, 0.0
        while True:
            found = self.read_all("committed_at", "last_error")
            waiting = [name for name in new if not found[name][0]]
            if not waiting:
                return
            if len(waiting) < before:
                before, deadline_s = len(waiting), time.monotonic() + DEADLINE_S
            if time.monotonic() > deadline_s:
                raise NotRunning(f"{len(waiting)} have not iterated, {waiting[0]}: {found[waiting[0]]}")
            time.sleep(0.5)


@contextlib.contextmanager
def open_fleet(
    folder: Path, *, interval_s: float, fsync: str = "always", children: int = 2, pool: str = "prefork"
) -> Iterator[Fleet]:
    """Start everything but workers for iterations and instances; end it afterwards.

    `children` and `pool` are those of the workers that come.
    """
    with open_venue("fleet_venue.py", folder, "--symbols", str(SYMBOLS)) as (venue, venue_url):
        (folder / "config").mkdir()
        options = StackOptions(
            run_dir=folder,
            config_dir=folder / "config",
            fresh=True,
            simulator=False,
            server_fsync=fsync,
            environ={**environment(), **_keys(), "CLEANBOOK_REQUESTS_PER_MINUTE": REQUESTS_PER_MINUTE},
        )
        with Stack(options) as stack:
            fleet = Fleet(
                stack=stack,
                context=open_context(stack.settings()),
                venue=venue,
                venue_url=venue_url,
                interval_s=interval_s,
                names=[],
                workers=[],
            )
            # Its place is taken by those of `have_workers`.
            iterate = stack.processes["iterate"]
            iterate.stop()
            words = " ".join(iterate.spec.command).replace("-c 2", f"-c {children} --pool={pool}")
            iterate.spec = replace(iterate.spec, command=tuple(words.split()))
            try:
                yield fleet
            finally:
                for worker in fleet.workers:
                    worker.process.kill()


def server_memory_mb(client: redis.Redis) -> float:
    """Return the memory that the state server has allocated for data."""
    return float(client.info("memory")["used_memory"]) / 2**20


def _children_cpu_s() -> float:
    """Return the CPU time of children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _name(number: int) -> str:
    return f"fleet_{number:04}"


def _keys() -> dict[str, str]:
    """Return the environment with a pair of keys for each account."""
    found = {}
    for number in range(ACCOUNTS):
        seed = bytes([100 + number]) * 32
        public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
        found[f"FLEET_KEY_{number}"] = base64.b64encode(public).decode()
        found[f"FLEET_SECRET_{number}"] = base64.b64encode(seed).decode()
    return found


def _config(name: str, interval_s: float, venue_url: str) -> dict[str, object]:
    """Return an instance's file: two orders that nothing moves. Each symbol belongs to one account."""
    number = int(name.rpartition("_")[2])
    account = number % SYMBOLS % ACCOUNTS
    return {
        "metadata": {
            "instance_id": name,
            "exchange": "backpack",
            "symbol": symbol_name(2 * (number % SYMBOLS)),
            "market_type": "spot",
            "strategy": "standard",
        },
        "exchange_config": {
            "base_url": venue_url,
            "api_key": f"${{FLEET_KEY_{account}}}",
            "secret_key": f"${{FLEET_SECRET_{account}}}",
        },
        "strategy_config": {
            "spread": "1",
            "max_orders": 1,
            "quantity": "0.1",
            "enable_rebalance": False,
            "interval": interval_s,
        },
        # To its base_url, which is on this machine: simulated instances have one account together.
        "live": True,
    }

"""What the state server does for 100,000 instances: memory, iterations, sweeps and wake-ups.

    python bench/sweep_at_scale.py [--quick] [--instances N] [--seconds S] [--clients N] [--sweepers N]

A real Valkey with the state of that many running instances in it, and the real scripts, from several
processes. No Celery and no exchange: of both only what reaches the server (scale_clients.py). Progress goes
to standard error; standard output ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any, cast

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import structlog  # noqa: E402 - the checkout is put on the path first

from bench.figures import median  # noqa: E402
from bench.progress import say  # noqa: E402
from bench.scale_clients import iterate, keep_sweeping, keep_waking  # noqa: E402
from bench.scale_report import Load, Looks, Lost, Measured, Used, Wakes, report  # noqa: E402
from bench.scale_state import account_of, name_of, write  # noqa: E402
from cli.stack.valkey import ValkeyServer  # noqa: E402
from runner.context import Context, open_context  # noqa: E402
from runner.schedule import sweep  # noqa: E402
from settings import Settings, environment  # noqa: E402
from state import keys  # noqa: E402
from state.fleet import Fleet  # noqa: E402
from state.heartbeats import Heartbeats  # noqa: E402

INSTANCES, QUICK_INSTANCES = 100_000, 20_000
#: Part of the instances that are overdue at one moment: a tenth of the hosts has died.
LOST_PART = 0.1
#: After this the search for them is given up.
LONGEST_S = 60.0
WAKES_PER_S = 100.0


class Bench:
    """A server with its state, and processes that ask it."""

    def __init__(self, server: ValkeyServer, pool: ProcessPoolExecutor, count: int) -> None:
        self.server = server
        self.pool = pool
        self.count = count
        self.context: Context = open_context(Settings(broker_url=server.url, state_url=server.url))
        self.client = self.context.client

    def share(self, first: int, step: int) -> tuple[list[str], list[str]]:
        """Return every `step`th instance from `first` on, and their accounts."""
        numbers = range(first, self.count, step)
        return [name_of(number) for number in numbers], [account_of(number) for number in numbers]

    @contextmanager
    def used(self) -> Iterator[Used]:
        """Count what the server does during the block."""
        self.client.config_resetstat()
        used, before_s, began_s = Used(), self._cpu_s(), time.monotonic()
        yield used
        used.seconds = time.monotonic() - began_s
        used.cpu_s = self._cpu_s() - before_s
        commands = self.client.info("commandstats")
        used.commands = sum(each["calls"] for each in commands.values())
        scripts = [commands[name] for name in ("cmdstat_evalsha", "cmdstat_eval") if name in commands]
        used.scripts, used.script_us = sum(s["calls"] for s in scripts), sum(s["usec"] for s in scripts)

    def _cpu_s(self) -> float:
        cpu = self.client.info("cpu")
        return float(cpu["used_cpu_sys"]) + float(cpu["used_cpu_user"])

    def looks(self) -> Looks:
        """Time what looks at everything, as the guard, the dashboard and each sweep do."""
        nothing = cast("Any", None)  # nobody is due, so nothing is published
        return Looks(
            idle_sweep_s=_median_s(lambda: sweep(self.context, nothing), 200),
            look_again_s=_median_s(lambda: self.context.due.look_again(now_ms=0), 3),
            heartbeats_s=_median_s(Heartbeats(self.client).read, 1),
            glance_s=_median_s(Fleet(self.client).glance, 1),
        )

    def iterations(self, clients: int, seconds: float) -> Load:
        """Iterate for instances from several processes, one after the other in each."""
        until_s = time.monotonic() + seconds
        with self.used() as used:
            running = [
                self.pool.submit(iterate, self.server.url, *self.share(each, clients + 1), until_s)
                for each in range(clients)
            ]
            done = [one.result() for one in running]
        return Load(used=used, iterations=sum(one.iterations for one in done), clients=clients)

    def wake_ups(self, clients: int, seconds: float) -> Wakes:
        """Ask for wake-ups of instances that have just iterated, as feeds do, while one worker sweeps."""
        until_s = time.monotonic() + seconds
        names, _ = self.share(0, clients + 1)
        sweeping = self.pool.submit(keep_sweeping, self.server.url, until_s + 1)
        asking = self.pool.submit(keep_waking, self.server.url, names, WAKES_PER_S, until_s)
        asked_s, sent_s = asking.result(), sweeping.result().sent_s
        return Wakes(
            delays_ms=[(sent_s[name] - at_s) * 1000 for name, at_s in asked_s.items() if name in sent_s],
            lost=len(asked_s.keys() - sent_s.keys()),
        )

    def lost_messages(self, clients: int, sweepers: int) -> Lost:
        """Let many instances be overdue at once, and sweepers find them all."""
        names, _ = self.share(clients, clients + 1)
        names = names[: int(self.count * LOST_PART)]
        now_ms = self.context.instances.now_ms()
        self.client.zadd(keys.DUE, dict.fromkeys(names, now_ms))
        with self.used() as used:
            until_s = time.monotonic() + LONGEST_S
            running = [
                self.pool.submit(keep_sweeping, self.server.url, until_s, now_ms) for _ in range(sweepers)
            ]
            swept = [one.result() for one in running]
        sent = set().union(*(each.sent_s for each in swept))
        assert sent >= set(names), f"{len(set(names) - sent)} of {len(names)} were not found"
        return Lost(used=used, messages=len(names), sweepers=sweepers)


def main() -> int:
    """Measure, print a table, and end with one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_INSTANCES} instances, under 40 s")
    parser.add_argument("--instances", type=int, default=0, help=f"default {INSTANCES}")
    parser.add_argument("--seconds", type=float, default=0.0, help="of iterations and wake-ups; default 15")
    parser.add_argument("--clients", type=int, default=2, help="processes that iterate")
    parser.add_argument("--sweepers", type=int, default=4, help="processes that sweep what was lost")
    options = parser.parse_args()
    count = options.instances or (QUICK_INSTANCES if options.quick else INSTANCES)
    seconds = options.seconds or (3.0 if options.quick else 15.0)
    # What is decided here is told by figures alone.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    loads = [os.getloadavg()[0]]
    with tempfile.TemporaryDirectory() as folder, _server(Path(folder)) as server, _pool(8) as pool:
        bench = Bench(server, pool, count)
        say(f"writing {count} instances")
        weight = write(bench.client, count)
        say(f"written in {weight.wrote_s:.0f} s; looking at all of them")
        looks = bench.looks()
        say(f"iterating from {options.clients} processes")
        load = bench.iterations(options.clients, seconds)
        say("waking")
        wakes = bench.wake_ups(options.clients, seconds)
        say("losing messages")
        lost = bench.lost_messages(options.clients, options.sweepers)
    loads.append(os.getloadavg()[0])
    report(Measured(weight=weight, looks=looks, load=load, wakes=wakes, lost=lost, machine_loads=loads))
    return 0


@contextmanager
def _server(folder: Path) -> Iterator[ValkeyServer]:
    server = ValkeyServer(folder, environ=environment(), fsync="everysec")
    server.start()
    try:
        server.wait_ready()
        yield server
    finally:
        server.stop()


@contextmanager
def _pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Yield processes that are there already, so that no measurement waits for their imports."""
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_quiet) as pool:
        for ready in [pool.submit(time.sleep, 0.3) for _ in range(processes)]:
            ready.result()
        yield pool


def _quiet() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


def _median_s(do: Callable[[], object], times: int) -> float:
    took_s = []
    for _ in range(times):
        began_s = time.perf_counter()
        do()
        took_s.append(time.perf_counter() - began_s)
    return median(took_s)


if __name__ == "__main__":
    raise SystemExit(main())

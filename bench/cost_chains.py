"""Many chains at a time: raw ones, and ours. What each cell of `iteration_cost.py` measures."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from bench.command_counts import Commands, watch
from bench.process_usage import cpu_s, tree
from bench.progress import say
from cli.stack.processes import ManagedProcess
from cli.stack.stack import ROOT, Stack
from metrics.families import REQUESTS_S
from runner.context import Context
from runner.lifecycle import start_instance
from runner.market_read import Source
from state import keys
from state.record import Phase
from state.stop_policy import StopPolicy

RAW_WORKER = "-m celery -A bench.raw_chain worker -Q raw -c 2 -n raw@%h --without-gossip --without-mingle"
DEADLINE_S = 120.0
#: A command tells the raw chains to begin, and has to start for that.
BEGIN_MS = 3000
#: Before a measurement begins.
SETTLE_S = 2.0
#: Commands are listened to behind the measurement, since listening costs the server.
LISTEN_S = 2.0


class Failed(RuntimeError):
    """Raised when there is nothing to measure, or something else than what was meant."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Chains for a while."""

    seconds: float
    #: Monotonic span by the wall clock, ms: when it began and ended.
    span_ms: tuple[float, float]
    iterations: int
    #: Of the worker's whole process tree.
    worker_cpu_s: float
    server_cpu_s: float
    feed_cpu_s: float
    commands: Commands
    #: Iterations while commands were listened to.
    listened: int
    #: Requests of the worker to the exchange, for each iteration.
    requests: float = 0.0
    #: Iterations that did something, or did not have their book from the feed.
    unlike: int = 0
    late_ms: tuple[float, ...] = ()


class RawChains:
    """Celery tasks that write two values and send themselves again."""

    def __init__(self, stack: Stack, context: Context) -> None:
        self._stack = stack
        self._context = context
        self._folder = stack.data_dir / "raw"
        self._folder.mkdir()
        environ = {**stack.processes["iterate"].spec.environ, "BENCH_RAW_FOLDER": str(self._folder)}
        command = (sys.executable, *RAW_WORKER.split())
        spec = replace(stack.processes["iterate"].spec, name="raw", command=command, environ=environ)
        self._process = ManagedProcess(spec, stack.log_dir)

    @contextmanager
    def worker(self) -> Iterator[None]:
        """Have a worker for them."""
        self._process.start()
        try:
            yield
        finally:
            self._process.stop()

    def measure(self, count: int, interval_s: float, seconds: float) -> Measured:
        """Run so many chains and return what they cost."""
        run = f"{count}x{interval_s:g}"
        begin_ms = time.time() * 1000 + BEGIN_MS
        until_ms = begin_ms + (interval_s + SETTLE_S + seconds + LISTEN_S) * 1000
        self._begin(run, count, interval_s * 1000, begin_ms, until_ms)
        _sleep_until_ms(begin_ms + (interval_s + SETTLE_S) * 1000)
        chains = [f"raw:{run}-{number}:tick" for number in range(count)]
        measured = _measure(self._stack, self._context, self._process, seconds, lambda: self._ticks(chains))
        _sleep_until_ms(until_ms + 500)
        if measured.iterations == 0:
            raise Failed(f"no raw chain runs:\n{self._process.tail()}")
        return measured

    def _begin(self, *arguments: float | str) -> None:
        command = f"{sys.executable} -m celery -A bench.raw_chain call bench.raw_chain.begin --args".split()
        environ = dict(self._process.spec.environ)
        subprocess.run(
            [*command, json.dumps(arguments)], cwd=ROOT, env=environ, check=True, stdout=subprocess.DEVNULL
        )

    def _ticks(self, chains: Sequence[str]) -> int:
        return sum(int(tick or 0) for tick in self._context.client.mget(chains))

    def late_ms(self) -> Callable[[tuple[float, float]], tuple[float, ...]]:
        """Return how late iterations of a span were, once the worker has ended."""
        seen = [json.loads(path.read_text()) for path in self._folder.glob("*.json")]

        def within(span_ms: tuple[float, float]) -> tuple[float, ...]:
            found: list[float] = []
            for began_ms, late_ms in seen:
                found += late_ms[bisect_left(began_ms, span_ms[0]) : bisect_left(began_ms, span_ms[1])]
            return tuple(found)

        return within


class OurChains:
    """Instances that have nothing to do."""

    def __init__(self, stack: Stack, context: Context, names: Sequence[str]) -> None:
        self._stack = stack
        self._context = context
        self._names = names
        self._process = stack.processes["iterate"]

    def measure(self, count: int, interval_s: float, seconds: float) -> Measured:
        """Run so many instances and return what they cost."""
        names = self._names[:count]
        self._start(names, interval_s)
        _wait(lambda: self._least_seq(names) >= 3, "three iterations of each")
        time.sleep(SETTLE_S)
        log_begin, requests = self._process.log_file.stat().st_size, self._requests()
        iterations = self._iterations(names)
        measured = _measure(
            self._stack, self._context, self._process, seconds, lambda: self._iterations(names)
        )
        # The worker's processes keep their counts once a second.
        time.sleep(1.5)
        requests, iterations = self._requests() - requests, self._iterations(names) - iterations
        lines = [line for line in self._lines(log_begin) if _is_within(line, measured.span_ms)]
        self._stop(names)
        return replace(
            measured,
            requests=requests / iterations,
            unlike=sum(not _is_like_the_others(line) for line in lines),
            late_ms=tuple(float(line["late_ms"]) for line in lines),
        )

    def _start(self, names: Sequence[str], interval_s: float) -> None:
        """Start instances, spread over an interval."""
        for name in names:
            path = self._stack.options.config_dir / f"{name}.json"
            content = json.loads(path.read_text())
            content["strategy_config"]["interval"] = interval_s
            path.write_text(json.dumps(content))
        for number, name in enumerate(names):
            begun_s = time.monotonic()
            if not start_instance(self._context, name, by="bench").result.started:
                raise Failed(f"{name} was not started")
            if number % 50 == 49:
                say(f"{number + 1} started")
            time.sleep(max(0.0, interval_s / len(names) - (time.monotonic() - begun_s)))

    def _least_seq(self, names: Sequence[str]) -> int:
        return min(self._seqs(names))

    def _iterations(self, names: Sequence[str]) -> int:
        return sum(self._seqs(names))

    def _seqs(self, names: Sequence[str]) -> list[int]:
        pipeline = self._context.client.pipeline(transaction=False)
        for name in names:
            pipeline.hget(keys.record(name), "seq")
        return [int(seq or 0) for seq in pipeline.execute()]

    def _requests(self) -> int:
        """Return how many answers of the exchange the worker's processes have counted."""
        total = 0.0
        for pid in tree(self._process.pid or 0):
            for path in (self._stack.data_dir / "metrics").glob(f"{pid}-*.json"):
                for key, values in json.loads(path.read_text())["values"]:
                    if key[0] == REQUESTS_S.name:
                        total += sum(values[:-1])
        return round(total)

    def _lines(self, offset: int) -> list[dict[str, Any]]:
        with self._process.log_file.open("rb") as file:
            file.seek(offset)
            lines = [json.loads(line) for line in file.read().splitlines() if line.startswith(b"{")]
        return [line for line in lines if line.get("event") == "iteration"]

    def _stop(self, names: Sequence[str]) -> None:
        for name in names:
            self._context.instances.request_stop(name, by="bench", reason="bench", policy=StopPolicy())

        def stopped() -> bool:
            records = [self._context.instances.read(name) for name in names]
            return all(record is not None and record.phase is Phase.STOPPED for record in records)

        _wait(stopped, "the end of every instance")


def _measure(
    stack: Stack, context: Context, worker: ManagedProcess, seconds: float, count: Callable[[], int]
) -> Measured:
    """Let it run for a while, then listen to the commands for a while more."""
    pids, feed = tree(worker.pid or 0), tree(stack.processes["feed"].pid or 0)
    began_ms, iterations = time.time() * 1000, count()
    worker_s, feed_s, server_s = cpu_s(pids), cpu_s(feed), _server_cpu_s(context)
    time.sleep(seconds)
    worker_s, feed_s, server_s = (
        cpu_s(pids) - worker_s,
        cpu_s(feed) - feed_s,
        _server_cpu_s(context) - server_s,
    )
    ended_ms, iterations = time.time() * 1000, count() - iterations
    listened = count()
    commands = watch(context.client, pids, LISTEN_S)
    return Measured(
        seconds=seconds,
        span_ms=(began_ms, ended_ms),
        iterations=iterations,
        worker_cpu_s=worker_s,
        server_cpu_s=server_s,
        feed_cpu_s=feed_s,
        commands=commands,
        listened=count() - listened,
    )


def _server_cpu_s(context: Context) -> float:
    used = context.client.info("cpu")
    return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])


def _is_within(line: dict[str, Any], span_ms: tuple[float, float]) -> bool:
    at_ms = datetime.fromisoformat(line["timestamp"]).timestamp() * 1000
    return span_ms[0] <= at_ms < span_ms[1]


def _is_like_the_others(line: dict[str, Any]) -> bool:
    did_something = line["placed"] or line["cancelled"] or line["refused"] or line["failed"]
    return not did_something and line["book"] == Source.STREAM


def _sleep_until_ms(at_ms: float) -> None:
    time.sleep(max(0.0, at_ms / 1000 - time.time()))


def _wait(condition: Callable[[], bool], what: str) -> None:
    end_s = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > end_s:
            raise Failed(f"{what} did not come within {DEADLINE_S:g} s")
        time.sleep(0.2)

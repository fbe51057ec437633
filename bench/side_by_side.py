"""Instances as tasks, against the same instances as one process each, on the same simulated exchange.

    python bench/side_by_side.py [--quick] [--instances N] [--seconds S] [--latency-ms MS]

The baseline (`loop_bot.py`) is the design of the old program around our strategy code and adapter: a loop in
a process, which sleeps in slices of a second. Both run in the same stack, one after the other: memory and
CPU, then some are stopped, then everything of it is killed with SIGKILL, and the user stops all. Progress
goes to standard error; standard output ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import requests  # noqa: E402 - the checkout is put on the path first
import structlog  # noqa: E402

from bench.journal_tail import JournalTail  # noqa: E402
from bench.maker_file import maker_file  # noqa: E402
from bench.process_usage import cpu_s, pss_mb, tree  # noqa: E402
from bench.progress import say  # noqa: E402
from bench.side_report import Side, report  # noqa: E402
from cli.stack.stack import Stack, StackOptions  # noqa: E402
from runner.context import Context, open_context  # noqa: E402
from runner.lifecycle import start_instance  # noqa: E402
from settings import environment  # noqa: E402
from state.client_ids import decode  # noqa: E402

ORDERS = 6
SYMBOL = "SOL_USDC"
INTERVAL_S = 2
#: Slots that no instance of the product gets here: those begin with 1.
FIRST_SLOT = 1001
DEADLINE_S = 60.0
REQUESTS_PER_MINUTE = 1_000_000
#: What of the stack is the product's own; the exchange is neither's.
OURS = ("valkey", "iterate", "cleanup", "feed")
KILLED = ("iterate", "cleanup", "feed")


class NotComparable(RuntimeError):
    """Raised when one side does not do what it should; the figures would mean nothing."""


class Bench:
    """Both sides' exchange, as its operator sees it."""

    def __init__(self, stack: Stack, http: requests.Session, seconds: float) -> None:
        self.stack = stack
        self._http = http
        self._seconds = seconds
        self._journal = stack.data_dir / "journal.jsonl"
        self._tail = JournalTail(self._journal)
        self.environ = dict(stack.settings().environ)

    def resting(self) -> int:
        """Return how many orders of instances rest."""
        return len(self._own())

    def _own(self) -> list[dict[str, str]]:
        answer = self._http.get(f"{self.stack.simulator_url}/sim/orders", timeout=30)
        answer.raise_for_status()
        orders = answer.json()
        return [o for o in orders if o.get("client_id") is not None and decode(int(o["client_id"])).slot]

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Return once it is true. Raises `NotComparable`."""
        deadline_s = time.monotonic() + DEADLINE_S
        while not condition():
            if time.monotonic() > deadline_s:
                raise NotComparable(f"{what} within {DEADLINE_S:g} s; {self.resting()} orders rest")
            time.sleep(0.05)

    def watch(
        self, pids: Sequence[int], iterations_so_far: Callable[[], int]
    ) -> tuple[float, int, float, float]:
        """Return CPU time (s), iterations, requests for each, and memory (MB), of a while of nothing else."""
        self._tail.more()
        before_s, before = cpu_s(pids), iterations_so_far()
        time.sleep(self._seconds)
        used_s, memory_mb = cpu_s(pids) - before_s, pss_mb(pids)
        asked = sum(each["event"] == "request" for each in self._tail.more())
        iterations = iterations_so_far() - before
        if not iterations:
            raise NotComparable("no iteration was seen")
        return used_s, iterations, asked / iterations, memory_mb

    def lists_so_far(self) -> int:
        """Return how often the list of orders was asked for: once in each iteration of a loop."""
        asked = [each for each in JournalTail(self._journal).more() if each["event"] == "request"]
        return sum((each["method"], each["path"]) == ("GET", "/api/v1/orders") for each in asked)

    def manage(self, *arguments: str) -> float:
        """Run a command to its end and return how long it took, s. Raises `NotComparable`."""
        began_s = time.monotonic()
        done = subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), *arguments],
            cwd=ROOT,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S * 2,
            check=False,
        )
        if done.returncode != 0:
            raise NotComparable(f"{arguments} ended with {done.returncode}: {done.stderr[-1000:]}")
        return time.monotonic() - began_s


def main() -> int:
    """Measure, print a table, and end with one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="8 instances, under 40 s")
    parser.add_argument("--instances", type=int, default=20)
    parser.add_argument("--stops", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=24.0, help="of watching each side")
    parser.add_argument("--latency-ms", type=int, default=20)
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    instances, stops, seconds = options.instances, options.stops, options.seconds
    if options.quick:
        instances, stops, seconds = 8, 2, 6.0
    names = [f"side_{number:02}" for number in range(instances)]
    loads = [os.getloadavg()[0]]
    with tempfile.TemporaryDirectory() as folder:
        config_dir = Path(folder) / "config"
        config_dir.mkdir()
        for name in names:
            content = maker_file(name, symbol=SYMBOL, orders=ORDERS, interval_s=INTERVAL_S)
            (config_dir / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
        stack_options = StackOptions(
            run_dir=Path(folder),
            config_dir=config_dir,
            fresh=True,
            # What is killed stays dead.
            supervise=False,
            simulator_arguments=(
                *("--latency-ms", str(options.latency_ms)),
                *("--rate-per-min", str(REQUESTS_PER_MINUTE)),
            ),
            environ={**environment(), "CLEANBOOK_REQUESTS_PER_MINUTE": str(REQUESTS_PER_MINUTE)},
        )
        say("starting server, exchange, workers and feed")
        with Stack(stack_options) as stack, requests.Session() as http:
            http.trust_env = False
            bench = Bench(stack, http, seconds)
            loops = _measure_loops(bench, names, stops)
            loads.append(os.getloadavg()[0])
            context = open_context(stack.settings())
            _cancel_all(context, bench, names[0])
            tasks = _measure_tasks(bench, context, names, stops)
    report(loops, tasks, instances=instances, latency_ms=options.latency_ms, loads=loads)
    return 0


def _measure_loops(bench: Bench, names: Sequence[str], stops: int) -> Side:
    command = (sys.executable, str(ROOT / "bench" / "loop_bot.py"))
    bots = [
        subprocess.Popen((*command, name, str(FIRST_SLOT + number)), cwd=ROOT, env=bench.environ)
        for number, name in enumerate(names)
    ]
    try:
        bench.wait_until(lambda: bench.resting() == ORDERS * len(bots), "not all loops quote")
        used_s, iterations, asked, memory_mb = bench.watch([bot.pid for bot in bots], bench.lists_so_far)
        say(f"loops: {iterations} iterations, {memory_mb:.0f} MB")
        stop_s = []
        for number, bot in enumerate(bots[:stops]):
            _pause(number)
            began_s = time.monotonic()
            bot.send_signal(signal.SIGTERM)
            bot.wait(DEADLINE_S)
            stop_s.append(time.monotonic() - began_s)
    finally:
        for bot in bots:
            bot.kill()
            bot.wait()
    # Their keeper finds processes that are gone, and has nothing else to ask.
    left = bench.resting()
    return Side(
        memory_mb=memory_mb,
        cpu_ms=used_s * 1000 / iterations,
        iterations=iterations,
        requests=asked,
        stop_s=tuple(stop_s),
        rest_after_kill=left,
        rest_after_stop=left,
        stop_all_s=0.0,
    )


def _measure_tasks(bench: Bench, context: Context, names: Sequence[str], stops: int) -> Side:
    for name in names:
        if not start_instance(context, name, by="bench").result.started:
            raise NotComparable(f"{name} is not stopped")
    bench.wait_until(lambda: bench.resting() == ORDERS * len(names), "not all instances quote")
    processes = bench.stack.processes
    pids = [pid for name in OURS for pid in tree(processes[name].pid or 0)]
    used_s, iterations, asked, memory_mb = bench.watch(
        pids, lambda: sum(record.seq for record in map(context.instances.read, names) if record)
    )
    say(f"tasks: {iterations} iterations, {memory_mb:.0f} MB")
    stop_s = []
    for number, name in enumerate(names[:stops]):
        _pause(number)
        stop_s.append(bench.manage("stop", name))
    for name in KILLED:
        for pid in tree(processes[name].pid or 0):
            # A child may end with its parent.
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    rest_after_kill = bench.resting()
    stop_all_s = bench.manage("stop", "--all")
    return Side(
        memory_mb=memory_mb,
        cpu_ms=used_s * 1000 / iterations,
        iterations=iterations,
        requests=asked,
        stop_s=tuple(stop_s),
        rest_after_kill=rest_after_kill,
        rest_after_stop=bench.resting(),
        stop_all_s=stop_all_s,
    )


def _cancel_all(context: Context, bench: Bench, name: str) -> None:
    """Take away what the loops have left behind."""
    from runner.config import load_instance

    found = load_instance(name, context.settings.config_dir, context.settings.environ).config
    context.venues.of(found).cancel_all(SYMBOL)
    bench.wait_until(lambda: bench.resting() == 0, "orders of the loops rest")


def _pause(number: int) -> None:
    """Wait for a moment that is another part of the interval each time."""
    time.sleep(0.1 + 0.37 * number % 1)


if __name__ == "__main__":
    sys.exit(main())

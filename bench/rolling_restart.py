"""How late iterations are while workers are restarted one after the other.

    python bench/rolling_restart.py [--quick] [--instances N] [--interval S]

Real Valkey, the simulated exchange, a cleanup worker and two workers for iterations. Each of the two is
restarted in turn: by SIGTERM and a new process after its end, as systemd does, and by `celery multi restart`.
Every instance has to go on in one chain, no tick left out, and nothing may rest on the books in the end.
Progress goes to standard error; standard output ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import requests

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.progress import say  # noqa: E402
from bench.rolling_report import Figures, figures_of, print_table  # noqa: E402 - the path comes first
from bench.rolling_workers import MultiWorker, SupervisedWorker, Worker  # noqa: E402
from cli.stack.stack import Stack, StackOptions  # noqa: E402
from runner.context import Context, open_context  # noqa: E402
from runner.lifecycle import start_instance  # noqa: E402
from settings import environment  # noqa: E402
from state.record import Phase  # noqa: E402
from state.stop_policy import StopPolicy  # noqa: E402

#: More than the instances can ask for: the budget is not what is measured.
REQUESTS_PER_MINUTE = "1000000"
START_DEADLINE_S = 120.0
STOP_DEADLINE_S = 300.0

#: Does something, and returns how long each worker took to end, s.
Act = Callable[[], list[float]]


class Failed(RuntimeError):
    """Raised when the promise is broken, or nothing could be measured."""


def main() -> int:
    """Measure, print a table, and end with one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="20 instances every second, and no `celery multi`, under 40 s"
    )
    parser.add_argument("--instances", type=int, default=200)
    parser.add_argument("--interval", type=float, default=10.0, help="of each instance, s")
    options = parser.parse_args()
    count, interval_s = (20, 1.0) if options.quick else (options.instances, options.interval)
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        names = _configure(Path(folder) / "config", count, interval_s)
        stack_options = StackOptions(
            run_dir=Path(folder),
            config_dir=Path(folder) / "config",
            fresh=True,
            simulator_arguments=("--flow", "still"),
            environ={**environment(), "CLEANBOOK_REQUESTS_PER_MINUTE": REQUESTS_PER_MINUTE},
        )
        say("starting server, simulator and workers")
        with Stack(stack_options) as stack:
            context = open_context(stack.settings())
            parts = _run(stack, context, names, interval_s, with_multi=not options.quick)
            left = _stop_all(context, stack, names)
    print_table(parts, interval_s)
    passed = left == 0 and all(part.ticks_left_out == 0 for part in parts)
    result = {
        "bench": "rolling_restart",
        "instances": count,
        "interval_s": interval_s,
        "parts": [asdict(part) for part in parts],
        "orders_left": left,
        "load_before": round(load_before, 2),
        "load_after": round(os.getloadavg()[0], 2),
        "passed": passed,
    }
    print(json.dumps(result))
    return 0 if passed else 1


def _configure(config_dir: Path, count: int, interval_s: float) -> list[str]:
    config_dir.mkdir()
    names = [f"roll_{number:03}" for number in range(count)]
    for name in names:
        content = {
            "metadata": {
                "instance_id": name,
                "exchange": "backpack",
                "symbol": "SOL_USDC",
                "market_type": "spot",
                "strategy": "standard",
            },
            "exchange_config": {},
            "strategy_config": {
                "spread": "1",
                "max_orders": 1,
                "quantity": "0.1",
                "enable_rebalance": False,
                "interval": interval_s,
            },
            "live": False,
        }
        (config_dir / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return names


def _run(
    stack: Stack, context: Context, names: list[str], interval_s: float, *, with_multi: bool
) -> list[Figures]:
    """Start everything, restart each worker in each way, and return the figures of each part of the run."""
    stack.processes["iterate"].stop()
    # What stops the instances needs workers that iterate no more than it needs these.
    with contextlib.ExitStack() as ended:

        def started(workers: list[Worker]) -> list[Worker]:
            for worker in workers:
                ended.callback(worker.stop)
                worker.start()
            return workers

        pair = started([SupervisedWorker(stack, context, f"roll{number}") for number in (1, 2)])
        _start_all(context, names, interval_s)
        _settle(interval_s)
        parts = [
            _part("no restart", context, names, interval_s, pair, lambda: _settle(2 * interval_s)),
            _part("SIGTERM in turn", context, names, interval_s, pair, lambda: _roll(pair, interval_s)),
        ]
        if with_multi:
            multi = started([MultiWorker(stack, context, f"multi{number}") for number in (1, 2)])
            for worker in pair:
                worker.stop()
            _settle(interval_s)
            way = "celery multi restart"
            parts.append(_part(way, context, names, interval_s, multi, lambda: _roll(multi, interval_s)))
        return parts


def _roll(workers: list[Worker], interval_s: float) -> list[float]:
    """Restart each worker in turn; return how long each took to end, s."""
    took_s = []
    for worker in workers:
        took_s.append(worker.restart())
        say(f"{worker.name} restarted, ended in {took_s[-1]:.1f} s")
        _settle(interval_s)
    return took_s


def _settle(duration_s: float) -> list[float]:
    time.sleep(duration_s)
    return []


def _part(
    name: str, context: Context, names: list[str], interval_s: float, workers: list[Worker], act: Act
) -> Figures:
    """Let something happen, and return how the iterations went meanwhile."""
    say(name)
    since_ms, swept = context.instances.now_ms(), sum(worker.swept() for worker in workers)
    took_s = act()
    traces = {instance: context.events.trace(instance) for instance in names}
    return figures_of(
        name,
        traces,
        interval_ms=round(interval_s * 1000),
        since_ms=since_ms,
        until_ms=context.instances.now_ms(),
        ended_s=took_s,
        swept=sum(worker.swept() for worker in workers) - swept,
    )


def _start_all(context: Context, names: list[str], interval_s: float) -> None:
    """Start the instances, spread over an interval; return once each has iterated."""
    for number, name in enumerate(names, 1):
        if not start_instance(context, name, by="bench").result.started:
            raise Failed(f"{name} was not started")
        if number % 50 == 0:
            say(f"{number} started")
        time.sleep(interval_s / len(names))
    _wait(
        lambda: all(_seq(context, name) > 0 for name in names), START_DEADLINE_S, "a first iteration of each"
    )


def _seq(context: Context, name: str) -> int:
    record = context.instances.read(name)
    return record.seq if record else 0


def _stop_all(context: Context, stack: Stack, names: list[str]) -> int:
    """Stop every instance; return how many orders rest on the exchange after that."""
    say("stopping everything")
    for name in names:
        context.instances.request_stop(name, by="bench", reason="bench", policy=StopPolicy())

    def stopped() -> bool:
        records = [context.instances.read(name) for name in names]
        return all(record is not None and record.phase is Phase.STOPPED for record in records)

    _wait(stopped, STOP_DEADLINE_S, "the end of every instance")
    answer = requests.get(f"{stack.simulator_url}/sim/orders", params={"account": "demo"}, timeout=10)
    answer.raise_for_status()
    return len(answer.json())


def _wait(condition: Callable[[], bool], deadline_s: float, what: str) -> None:
    end_s = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end_s:
            raise Failed(f"{what} did not come within {deadline_s:g} s")
        time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main())

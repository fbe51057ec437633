"""What counting costs an iteration: the same iterations, with and without it, by turns in one run.

    python bench/metrics_overhead.py [--quick]

Valkey and the simulated exchange are processes of their own; iterations run here, one after the other,
without a task queue. Time is this thread's on its CPU: what else runs on the machine counts as little as
possible. Beside it stand how often an iteration counts and what one count costs. Standard output is a table
and one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.figures import median, table  # noqa: E402 - the checkout is put on the path first
from cli.stack.stack import Stack, StackOptions  # noqa: E402
from logs import configure  # noqa: E402
from metrics import families  # noqa: E402
from metrics.keeping import keep  # noqa: E402
from metrics.numbers import NUMBERS, Counter, Histogram  # noqa: E402
from runner.context import Context, open_context  # noqa: E402
from runner.iteration import run_iteration  # noqa: E402
from runner.lifecycle import start_instance  # noqa: E402
from settings import environment  # noqa: E402
from state import keys  # noqa: E402
from state.stop_policy import StopPolicy  # noqa: E402

ROUNDS, QUICK_ROUNDS = 400, 40
WARM_UP = 10
COUNTS = 20_000
NAME = "counted_01"
CONFIG = {
    "metadata": {
        "instance_id": NAME,
        "exchange": "backpack",
        "symbol": "SOL_USDC",
        "market_type": "spot",
        "strategy": "standard",
    },
    "exchange_config": {},
    # A ladder that moves with each iteration: six orders placed, six cancelled.
    "strategy_config": {
        "spread": "0.5",
        "quantity": "0.1",
        "max_orders": 3,
        "layer_spacing": "bps",
        "layer_step_bps": 20,
        "enable_rebalance": False,
        "interval": "0.5",
    },
}


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true")
    rounds = QUICK_ROUNDS if parser.parse_args().quick else ROUNDS
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as directory:
        run_dir = Path(directory)
        (run_dir / "instances").mkdir()
        (run_dir / "instances" / f"{NAME}.json").write_text(json.dumps(CONFIG))
        options = StackOptions(
            run_dir=run_dir,
            config_dir=run_dir / "instances",
            workers=False,
            feed=False,
            simulator_arguments=("--rate-per-min", "1000000"),
            environ={**environment(), "CLEANBOOK_REQUESTS_PER_MINUTE": "10000000"},
        )
        with Stack(options) as stack:
            settings = stack.settings()
            with (run_dir / "log").open("w") as log:
                sys.stderr = log
                configure(settings)
                keep(settings.metrics_dir)
                context = open_context(settings)
                start_instance(context, NAME, by="bench")
                measured = measure(context, rounds)
                context.instances.request_stop(NAME, by="bench", reason="", policy=StopPolicy())
                sys.stderr = sys.__stderr__
    with_s, without_s, counts = measured
    report(with_s, without_s, counts, load_before)


def measure(context: Context, rounds: int) -> tuple[list[float], list[float], float]:
    """Return CPU seconds of iterations that count and of those that do not, and counts per iteration."""
    with_s: list[float] = []
    without_s: list[float] = []
    counts = 0
    for number in range(2 * (rounds + WARM_UP)):
        is_counting = number % 2 == 0
        before = NUMBERS.changes
        if is_counting:
            took_s = iterate(context)
            counts += NUMBERS.changes - before
        else:
            with uncounted():
                took_s = iterate(context)
        if number >= 2 * WARM_UP:
            (with_s if is_counting else without_s).append(took_s)
    return with_s, without_s, counts / (rounds + WARM_UP)


def iterate(context: Context) -> float:
    """Run the next iteration at once; return its time on the CPU, seconds."""
    record = context.instances.read(NAME)
    assert record is not None
    context.client.hset(keys.record(NAME), "due", context.instances.now_ms())
    began_s = time.thread_time()
    run_iteration(context, NAME, epoch=record.epoch, tick=record.tick, own_task_id="bench")
    return time.thread_time() - began_s


@contextmanager
def uncounted() -> Iterator[None]:
    """Count nothing meanwhile."""
    add, observe = Counter.add, Histogram.observe
    Counter.add = lambda self, *labels, amount=1: None  # type: ignore[method-assign]
    Histogram.observe = lambda self, value, *labels: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        Counter.add, Histogram.observe = add, observe  # type: ignore[method-assign]


def cost_of_a_count_s() -> float:
    """Return what one count costs, CPU seconds: half counters, half histograms."""
    began_s = time.thread_time()
    for _ in range(COUNTS // 2):
        families.ITERATIONS.add("tick", "done")
        families.LATENESS_S.observe(0.003)
    return (time.thread_time() - began_s) / COUNTS


def report(with_s: list[float], without_s: list[float], counts: float, load_before: float) -> None:
    """Print the figures."""
    cost_s = cost_of_a_count_s()
    rows = {
        "iteration that counts": [1000 * s for s in with_s],
        "iteration that does not": [1000 * s for s in without_s],
    }
    print(table(rows, digits=3))
    ratio, share = median(with_s) / median(without_s), counts * cost_s / median(without_s)
    print(f"\nmedian ratio {ratio:.3f}; {counts:.1f} counts of {cost_s * 1e6:.2f} µs: {share:.2%}")
    figures = {
        "ratio": round(ratio, 4),
        "counts": round(counts, 1),
        "count_us": round(cost_s * 1e6, 3),
        "share": round(share, 5),
        "load": [round(load_before, 2), round(os.getloadavg()[0], 2)],
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

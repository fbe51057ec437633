"""What an iteration costs that has nothing to do, against a raw chain of Celery tasks in the same run.

    python bench/iteration_cost.py [--quick] [--cells 50x1,200x1,…] [--seconds S] [--orders N] [--fsync P]

Real Valkey, a real feed, real workers, the simulated exchange. A market maker with orders that rest where
they should: each iteration claims, takes the market from the feed, decides, compares, commits, and sends the
next one. Beside it a task that writes two values and sends itself again (`raw_chain.py`), on a worker with as
many processes. One after the other for each cell (instances x interval in seconds). Progress goes to standard
error; standard output ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import requests  # noqa: E402 - the checkout is put on the path first

from bench.cost_chains import OurChains, RawChains  # noqa: E402
from bench.cost_report import Cell, report  # noqa: E402
from bench.cost_trips import one_chain  # noqa: E402
from bench.maker_file import maker_file  # noqa: E402
from bench.progress import say  # noqa: E402
from cli.stack.stack import Stack, StackOptions  # noqa: E402
from runner.context import open_context  # noqa: E402
from settings import environment  # noqa: E402

SYMBOL, PRICE = "SOL_USDC", "150"
#: The market tells of itself so often, and its middle stays where it is: a feed's book is fresh, and right.
STIR_EVERY_S = 0.2
#: More than is asked for: the budget is not what is measured.
REQUESTS_PER_MINUTE = "10000000"
CELLS, QUICK_CELLS = "50x1,200x1,200x5", "30x0.5"


def main() -> int:
    """Measure, print a table, and end with one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one small cell, under 40 s")
    parser.add_argument("--cells", default="", help=f"instances x interval in s; default {CELLS}")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each measurement")
    parser.add_argument("--orders", type=int, default=2, help="that rest, of each instance: an even number")
    parser.add_argument("--fsync", default="everysec", choices=("always", "everysec", "no"))
    options = parser.parse_args()
    seconds = min(options.seconds, 4.0) if options.quick else options.seconds
    cells = _cells(options.cells or (QUICK_CELLS if options.quick else CELLS))
    loads = [os.getloadavg()[0]]
    with tempfile.TemporaryDirectory() as folder:
        names = _configure(Path(folder) / "config", max(count for count, _ in cells), options.orders)
        stack_options = StackOptions(
            run_dir=Path(folder),
            config_dir=Path(folder) / "config",
            fresh=True,
            server_fsync=options.fsync,
            simulator_arguments=("--flow", "still", "--rate-per-min", REQUESTS_PER_MINUTE),
            environ={**environment(), "CLEANBOOK_REQUESTS_PER_MINUTE": REQUESTS_PER_MINUTE},
        )
        say("starting server, simulator, workers and feed")
        with Stack(stack_options) as stack, _stirred(stack):
            context = open_context(stack.settings())
            say("one chain in this process")
            trips = one_chain(stack, names[0], rounds=10 if options.quick else 30)
            raw, ours = RawChains(stack, context), OurChains(stack, context, names)
            with raw.worker():
                measured = []
                for count, interval_s in cells:
                    say(f"{count} raw chains every {interval_s:g} s")
                    of_raw = raw.measure(count, interval_s, seconds)
                    say(f"{count} instances every {interval_s:g} s")
                    of_ours = ours.measure(count, interval_s, seconds)
                    measured.append(Cell(instances=count, interval_s=interval_s, raw=of_raw, ours=of_ours))
            late_ms = raw.late_ms()
    loads.append(os.getloadavg()[0])
    report(measured, trips, late_ms, orders=options.orders, fsync=options.fsync, loads=loads)
    return 0


def _cells(text: str) -> list[tuple[int, float]]:
    pairs = [cell.split("x") for cell in text.split(",")]
    return [(int(count), float(interval_s)) for count, interval_s in pairs]


def _configure(config_dir: Path, count: int, orders: int) -> list[str]:
    """Write the files of instances and return their ids; the interval is written for each cell."""
    config_dir.mkdir()
    names = [f"cost_{number:04}" for number in range(count)]
    for name in names:
        content = maker_file(name, symbol=SYMBOL, orders=orders, interval_s=0.5)
        (config_dir / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return names


@contextmanager
def _stirred(stack: Stack) -> Iterator[None]:
    """Let the touch change its quantity a few times a second."""
    ended = threading.Event()

    def stir() -> None:
        with requests.Session() as http:
            http.trust_env = False
            while not ended.wait(STIR_EVERY_S):
                http.post(
                    f"{stack.simulator_url}/sim/market", json={"symbol": SYMBOL, "price": PRICE}, timeout=10
                ).raise_for_status()

    thread = threading.Thread(target=stir, name="stir", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


if __name__ == "__main__":
    sys.exit(main())

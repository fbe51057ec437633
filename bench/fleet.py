"""A thousand instances on one machine: how late they are, and what they take.

    python bench/fleet.py [--quick] [--sizes N,N,…] [--interval S] [--workers N,N,…] [--seconds S]

Real Valkey, feed and workers; an exchange of its own (`fleet_venue.py`), since the simulated one has six
markets. The instances are live ones of ten accounts and a hundred symbols on it, with two resting orders
each, and the market gives them nothing to do. They are started with `manage.py apply`, more and more of them;
with the last number of them the other numbers of workers are tried.
Progress goes to standard error; standard output ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.fleet_report import Span, print_table, slope  # noqa: E402 - the path comes first
from bench.fleet_run import Fleet, Started, open_fleet, server_memory_mb  # noqa: E402
from bench.process_usage import Use, total, use_of_group  # noqa: E402
from bench.progress import say  # noqa: E402

#: Nobody is later than this once a start is over.
ON_TIME_MS = 500
#: Who comes rarely gets over a start slowly: at least a minute, and so many intervals.
LONGEST_SETTLING_S, LONGEST_SETTLING_INTERVALS = 60.0, 8


def main() -> int:
    """Measure, print a table, and end with one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="30 and 100 instances, under 40 s")
    parser.add_argument("--sizes", default="100,300,1000", help="numbers of instances, rising")
    parser.add_argument("--interval", type=float, default=5.0, help="of each instance, s")
    parser.add_argument("--workers", default="1,2,4", help="numbers of workers")
    parser.add_argument("--children", type=int, default=2, help="of each worker")
    parser.add_argument("--pool", choices=("prefork", "threads"), default="prefork")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--fsync", choices=("always", "everysec", "no"), default="always")
    options = parser.parse_args()
    sizes, workers, seconds = _numbers(options.sizes), _numbers(options.workers), options.seconds
    if options.quick:
        sizes, workers, seconds = [30, 100], [1], 6.0
    load_before = os.getloadavg()[0]
    starts: list[Started] = []
    spans: list[Span] = []
    with tempfile.TemporaryDirectory() as name:
        say("starting server, exchange, feed and workers")
        kind = {"fsync": options.fsync, "children": options.children, "pool": options.pool}
        with open_fleet(Path(name), interval_s=options.interval, **kind) as fleet:
            for size in sizes:
                fleet.have_workers(workers[0])
                starts.append(fleet.grow(size))
                say(f"{starts[-1].instances} started in {starts[-1].command_s:.1f} s")
                spans.append(_settle_and_measure(fleet, seconds))
            growing = tuple(spans)
            for count in workers[1:]:
                fleet.have_workers(count)
                spans.append(_settle_and_measure(fleet, seconds))
    print_table(spans)
    for start in starts:
        took = f"{start.command_s:.1f} s ({start.command_cpu_s:.1f} s on the CPU)"
        took += f", all ran after {start.all_ran_s:.1f} s"
        print(f"manage.py apply of {start.instances} more: {took}")
    result: dict[str, Any] = {
        "bench": "fleet",
        **kind,
        "spans": [span.figures() for span in spans],
        "starts": [vars(start) for start in starts],
        "load_before": round(load_before, 2),
        "load_after": round(os.getloadavg()[0], 2),
    }
    if len(growing) > 1:
        kb, percent = slope(growing, "memory") * 1024, slope(growing, "cpu")
        result |= {"kb_per_instance": round(kb, 1), "cpu_percent_per_instance": round(percent, 4)}
        print(f"Each further instance: {kb:.0f} KB, {percent:.3f} % of a core")
    result["met"] = any(span.is_met for span in spans if span.instances == sizes[-1])
    print(json.dumps(result))
    return 0


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _settle_and_measure(fleet: Fleet, seconds: float) -> Span:
    """Let everybody iterate once more, and wait until nobody is late of the start; then measure."""
    began_s = time.monotonic()
    end_s = began_s + max(LONGEST_SETTLING_S, LONGEST_SETTLING_INTERVALS * fleet.interval_s)
    time.sleep(fleet.interval_s + 1)
    while fleet.overdue_ms() > ON_TIME_MS and time.monotonic() < end_s:
        time.sleep(1)
    settled_s = time.monotonic() - began_s
    span = replace(_measure(fleet, seconds), settled_s=settled_s)
    found = span.figures()
    say(
        f"{span.instances} instances, {span.workers} workers: settled after {settled_s:.0f} s; "
        f"late p50 {found['late_p50_ms']:.0f} ms, "
        f"p99 {found['late_p99_ms']} ms; {found['memory_mb']:.0f} MB; CPU {found['cpu_percent']}"
    )
    return span


def _measure(fleet: Fleet, seconds: float) -> Span:
    since_ms = fleet.context.instances.now_ms()
    chains = fleet.chains()
    swept, asked, before = fleet.swept().total(), fleet.requests_so_far(), _uses(fleet)
    began_s = time.monotonic()
    time.sleep(seconds)
    after, took_s = _uses(fleet), time.monotonic() - began_s
    asked, swept = fleet.requests_so_far() - asked, fleet.swept().total() - swept
    until_ms = fleet.context.instances.now_ms()
    for name, trace in fleet.traces(since_ms).items():
        chains[name].follow(trace)
    return Span(
        instances=len(chains),
        workers=len(fleet.workers),
        interval_s=fleet.interval_s,
        seconds=took_s,
        iterations=sum(len(chain.claims) for chain in chains.values()),
        late_ms=tuple(late for chain in chains.values() for late in chain.late_ms(until_ms)),
        failed=sum(chain.failed for chain in chains.values()),
        swept=swept,
        requests=asked,
        uses={kind: after[kind].since(before[kind]) for kind in after},
        data_mb=server_memory_mb(fleet.context.client),
    )


def _uses(fleet: Fleet) -> dict[str, Use]:
    single = {
        "cleanup": fleet.stack.processes["cleanup"],
        "feed": fleet.stack.processes["feed"],
        "server": fleet.stack.processes["valkey"],
        "exchange": fleet.venue,
    }
    found = {kind: use_of_group(process.pid or -1) for kind, process in single.items()}
    found["workers"] = total(use_of_group(worker.process.pid or -1) for worker in fleet.workers)
    return found


if __name__ == "__main__":
    sys.exit(main())

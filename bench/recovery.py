"""How long iterations stand still whose worker is killed while it holds them, or ends in good order.

    python bench/recovery.py [--quick] [--instances N] [--interval S]

The fleet of `fleet.py` on one worker, which so holds the pending iteration of every instance. A second one
starts, and once it serves its queue the first is ended: by SIGKILL to all its processes, and, with the roles
changed, by SIGTERM. What a killed one held is lost: the sweep of the other finds each instance when it is
overdue. No iteration may come twice, and no order may rest beside the two of each instance.
Progress goes to standard error; standard output ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.figures import median, nearest_rank  # noqa: E402 - the checkout is put on the path first
from bench.fleet_run import Fleet, NotRunning, open_fleet  # noqa: E402
from bench.progress import say  # noqa: E402
from settings import Settings  # noqa: E402

ORDERS_EACH = 2


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """What became of the iterations of a worker that ended."""

    name: str
    #: Iterations that a sweep had to publish: what it held and had not begun.
    swept: int
    #: Iterations that it had begun and not ended: begun again when their lease was over.
    taken_over: int
    #: How long after its time the next iteration of each of these began, ms; without any, of all instances.
    late_p50_ms: float
    late_p99_ms: float
    late_max_ms: float
    #: The same of those that were taken over, at most; 0: there was none.
    taken_over_late_max_ms: float
    #: From the end of the worker until every instance had iterated again, s.
    all_run_after_s: float


def main() -> int:
    """Measure, print a table, and end with one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="60 instances every 3 s, under 40 s")
    parser.add_argument("--instances", type=int, default=500)
    parser.add_argument("--interval", type=float, default=10.0, help="of each instance, s")
    options = parser.parse_args()
    count, interval_s = (60, 3.0) if options.quick else (options.instances, options.interval)
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        say("starting server, exchange, feed and workers")
        with open_fleet(Path(name), interval_s=interval_s) as fleet:
            fleet.have_workers(1)
            fleet.grow(count)
            time.sleep(interval_s + 1)
            undisturbed = _recover(fleet, "nothing")
            killed = _end_the_older(fleet, "SIGKILL")
            ended = _end_the_older(fleet, "SIGTERM")
            left = fleet.orders_resting() - ORDERS_EACH * count
            settings = fleet.context.settings
    recoveries = (undisturbed, killed, ended)
    _print_table(recoveries, settings)
    result = {
        "bench": "recovery",
        "instances": count,
        "interval_s": interval_s,
        "recoveries": [asdict(each) for each in recoveries],
        "design_ms": _design_ms(settings),
        "doubled_iterations": 0,
        "orders_too_many": left,
        "load_before": round(load_before, 2),
        "load_after": round(os.getloadavg()[0], 2),
        "within_design": killed.late_p99_ms <= _design_ms(settings),
    }
    print(json.dumps(result))
    return 0 if left == 0 else 1


def _end_the_older(fleet: Fleet, how: str) -> Recovery:
    """Start another worker, end the one that holds everything, and see how the instances go on."""
    fleet.have_workers(2)
    return _recover(fleet, how)


def _recover(fleet: Fleet, how: str) -> Recovery:
    """End the older worker as `how` says, and follow every instance until it has iterated again."""
    since_ms, chains, swept = fleet.context.instances.now_ms(), fleet.chains(), fleet.swept()
    say(f"{how}, with {len(chains)} instances")
    ended_ms = fleet.context.instances.now_ms()
    if how == "SIGKILL":
        fleet.workers[0].process.kill()
    elif how == "SIGTERM":
        fleet.workers[0].process.send(signal.SIGTERM)
    # Whatever had been begun is begun again when its lease is over, and then found by a sweep.
    time.sleep(fleet.interval_s + fleet.context.settings.lease_ms / 1000 + 3)
    swept = fleet.swept() - swept
    if how != "nothing":
        fleet.workers.pop(0).stop()
    for name, trace in fleet.traces(since_ms).items():
        chains[name].follow(trace)
    firsts = {}
    for name, chain in chains.items():
        after = [claim for claim in chain.claims if claim.at_ms >= ended_ms]
        if not after:
            raise NotRunning(f"{name} did not iterate again")
        firsts[name] = after[0]
    taken_over_ms = [claim.late_ms for name, claim in firsts.items() if chains[name].taken_over]
    lost = [name for name in swept if not chains[name].taken_over]
    late_ms = [firsts[name].late_ms for name in lost or firsts]
    return Recovery(
        name=how,
        swept=len(lost),
        taken_over=len(taken_over_ms),
        late_p50_ms=median(late_ms),
        late_p99_ms=nearest_rank(late_ms, 0.99),
        late_max_ms=max(late_ms),
        taken_over_late_max_ms=max(taken_over_ms, default=0),
        all_run_after_s=round((max(claim.at_ms for claim in firsts.values()) - ended_ms) / 1000, 2),
    )


def _design_ms(settings: Settings) -> int:
    """Return how late an iteration is at most that a sweep has to find."""
    return settings.sweep_grace_ms + round(settings.sweep_interval_s * 1000)


def _print_table(recoveries: Sequence[Recovery], settings: Settings) -> None:
    heads = ("swept", "late p50 ms", "p99", "max", "begun and lost", "late max ms", "all ran after s")
    print(f"| worker ended by | {' | '.join(heads)} |")
    print(f"|---|{'|'.join(['---:'] * len(heads))}|")
    for each in recoveries:
        late = (each.late_p50_ms, each.late_p99_ms, each.late_max_ms)
        row = (
            each.swept,
            *(f"{ms:.0f}" for ms in late),
            each.taken_over,
            f"{each.taken_over_late_max_ms:.0f}",
        )
        print(f"| {each.name} | {' | '.join(map(str, (*row, each.all_run_after_s)))} |")
    print(
        f"\nBy design at most {_design_ms(settings)} ms late where a sweep has to find it; "
        f"{settings.lease_ms} ms more where it had been begun.\n"
    )


if __name__ == "__main__":
    sys.exit(main())

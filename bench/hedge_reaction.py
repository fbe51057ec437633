"""How long a filled quote stands unhedged: from the exchange's fill to its acceptance of the hedge.

    python bench/hedge_reaction.py [--quick] [--rounds N] [--latency-ms MS]

Real Valkey, real workers, a real feed, the simulated exchange over sockets on a market that stands still.
Both ends are the exchange's own: its journal says when the quote was filled and when the hedge was accepted.
The same without a feed, with a short interval, shows what the schedule alone does. Before each round the
floor is measured: as many requests of the same kinds, one after the other, through the adapter alone.
Progress goes to standard error; standard output ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.hedge_report import Round, report  # noqa: E402 - the checkout is put on the path first
from bench.hedge_rounds import INSTANCE, QUANTITY, SYMBOL, Rounds  # noqa: E402
from bench.progress import say  # noqa: E402
from bench.reaction_stack import open_reaction_stack  # noqa: E402

#: Rounds before those that count: every connection is open then.
WARM_UP = 2
#: The schedule is far too slow to be what hedges.
INTERVAL_S = 60.0


def main() -> int:
    """Measure, print a table, and end with one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="20 rounds, under 40 s")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--polled-rounds", type=int, default=5, help="without a feed")
    parser.add_argument("--polled-interval-s", type=float, default=2.0)
    parser.add_argument("--latency-ms", type=int, default=0)
    options = parser.parse_args()
    rounds, polled_rounds, polled_s = options.rounds, options.polled_rounds, options.polled_interval_s
    if options.quick:
        rounds, polled_rounds, polled_s = 20, 3, 1.0
    loads = [os.getloadavg()[0]]
    streamed, floors_ms = _measure(rounds, INTERVAL_S, options.latency_ms, with_feed=True)
    loads.append(os.getloadavg()[0])
    polled, _ = _measure(polled_rounds, polled_s, options.latency_ms, with_feed=False)
    report(
        streamed,
        polled,
        floors_ms,
        interval_s=INTERVAL_S,
        polled_interval_s=polled_s,
        latency_ms=options.latency_ms,
        loads=loads,
    )
    return 0


def _measure(
    rounds: int, interval_s: float, latency_ms: int, *, with_feed: bool
) -> tuple[list[Round], list[float]]:
    """Run one stack and return its rounds and floors. Raises `NoHedge`."""
    what = "with the stream" if with_feed else "without a feed"
    say(f"starting a stack {what}")
    with open_reaction_stack(config(interval_s), latency_ms=latency_ms, with_feed=with_feed) as running:
        bench = Rounds(running=running, with_feed=with_feed, interval_s=interval_s)
        measured: list[Round] = []
        floors_ms: list[float] = []
        for number in range(1 - WARM_UP, rounds + 1):
            floor_ms = bench.floor()
            this = bench.play(number)
            if number > 0:
                measured.append(this)
                floors_ms.append(floor_ms)
                say(f"{number}/{rounds} {what}: {this.whole_ms:.1f} ms, floor {floor_ms:.1f} ms")
    return measured, floors_ms


def config(interval_s: float) -> dict[str, Any]:
    """Return the instance's file."""
    return {
        "metadata": {
            "instance_id": INSTANCE,
            "exchange": "backpack",
            "symbol": SYMBOL,
            "market_type": "perp",
            "strategy": "maker_hedge",
        },
        "exchange_config": {},
        "strategy_config": {"quantity": QUANTITY, "max_position": "2", "interval": interval_s},
        "live": False,
    }


if __name__ == "__main__":
    sys.exit(main())

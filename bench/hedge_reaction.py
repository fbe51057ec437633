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
import json
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import requests  # noqa: E402 - the checkout is put on the path first

from bench.hedge_report import Round, report  # noqa: E402
from bench.hedge_rounds import INSTANCE, QUANTITY, SYMBOL, NoHedge, Rounds  # noqa: E402
from bench.journal_tail import JournalTail  # noqa: E402
from cli.stack.stack import Stack, StackOptions  # noqa: E402
from runner.context import open_context  # noqa: E402
from runner.lifecycle import start_instance  # noqa: E402
from settings import environment  # noqa: E402

#: Rounds before those that count: every connection is open then.
WARM_UP = 2
#: The schedule is far too slow to be what hedges.
INTERVAL_S = 60.0
#: More than the rounds need; a budget that runs out is not what is measured.
REQUESTS_PER_MINUTE = 100_000


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
    with tempfile.TemporaryDirectory() as folder:
        config_dir = Path(folder) / "config"
        config_dir.mkdir()
        text = json.dumps(config(interval_s))
        (config_dir / f"{INSTANCE}.json").write_text(text, encoding="utf-8")
        options = StackOptions(
            run_dir=Path(folder),
            config_dir=config_dir,
            fresh=True,
            feed=with_feed,
            simulator_arguments=(
                *("--flow", "still", "--latency-ms", str(latency_ms)),
                *("--rate-per-min", str(REQUESTS_PER_MINUTE)),
            ),
            environ={**environment(), "CLEANBOOK_REQUESTS_PER_MINUTE": str(REQUESTS_PER_MINUTE)},
        )
        _say(f"starting a stack {what}")
        with Stack(options) as stack, requests.Session() as http:
            http.trust_env = False
            context = open_context(stack.settings())
            tail = JournalTail(stack.data_dir / "journal.jsonl")
            if not start_instance(context, INSTANCE, by="bench").result.started:
                raise NoHedge("the instance is not stopped")
            record = context.instances.read(INSTANCE)
            assert record is not None  # it was started
            bench = Rounds(
                stack=stack,
                context=context,
                http=http,
                tail=tail,
                slot=record.slot,
                with_feed=with_feed,
                interval_s=interval_s,
            )
            measured: list[Round] = []
            floors_ms: list[float] = []
            for number in range(1 - WARM_UP, rounds + 1):
                floor_ms = bench.floor()
                this = bench.play(number)
                if number > 0:
                    measured.append(this)
                    floors_ms.append(floor_ms)
                    _say(f"{number}/{rounds} {what}: {this.whole_ms:.1f} ms, floor {floor_ms:.1f} ms")
    return measured, floors_ms


def config(interval_s: float) -> dict[str, object]:
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


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

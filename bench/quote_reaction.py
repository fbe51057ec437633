"""How long quotes stand behind the market: from its move to the exchange's acceptance of the new ones.

    python bench/quote_reaction.py [--quick] [--rounds N] [--latency-ms MS]

Real Valkey, real workers, a real feed, the simulated exchange over sockets. A market maker with one quote on
each side and an interval of 60 s asks to be woken by moves (`wake_on_move_bps`); its market is moved by twice
as much, up and down by turns. Beside each round the floor is measured: the requests of such an iteration
through the adapter alone. The same with an interval of 2 s and without the wish shows what the schedule alone
does. Progress goes to standard error; standard output ends with one line of JSON.
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

from bench.figures import median, nearest_rank, table  # noqa: E402
from bench.journal_tail import JournalTail  # noqa: E402
from bench.quote_rounds import INSTANCE, MOVE_BPS, QUANTITY, SYMBOL, NoQuotes, Round, Rounds  # noqa: E402
from cli.stack.stack import Stack, StackOptions  # noqa: E402
from runner.context import open_context  # noqa: E402
from runner.lifecycle import start_instance  # noqa: E402
from settings import environment  # noqa: E402

WARM_UP = 3
#: The schedule is far too slow to be what follows the market.
INTERVAL_S = 60.0
#: Its wish, with the least distance that there is.
WISH: dict[str, object] = {"wake_on_move_bps": MOVE_BPS, "wake_spacing": "0.2"}
SCHEDULED_S = 2.0
#: Likewise without the wish: at different parts of the interval.
SCHEDULED_PAUSES_S = (0.0, 0.9, 0.3, 1.2, 0.6)
#: A move comes at no fixed moment of the feed's loop, s after the chain is idle.
PAUSES_S = (0.0, 0.013, 0.029, 0.047, 0.071)
REQUESTS_PER_MINUTE = 100_000


def main() -> int:
    """Measure, print a table, and end with one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="20 rounds, under 40 s")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--scheduled-rounds", type=int, default=5, help="without the wish")
    parser.add_argument("--latency-ms", type=int, default=0)
    options = parser.parse_args()
    rounds, scheduled_rounds = (20, 3) if options.quick else (options.rounds, options.scheduled_rounds)
    loads = [os.getloadavg()[0]]
    woken = _measure(rounds, options.latency_ms, {"interval": INTERVAL_S, **WISH}, PAUSES_S)
    loads.append(os.getloadavg()[0])
    scheduled = _measure(scheduled_rounds, options.latency_ms, {"interval": SCHEDULED_S}, SCHEDULED_PAUSES_S)
    _report(woken, scheduled, options.latency_ms, loads)
    return 0


def _measure(
    rounds: int, latency_ms: int, pace: dict[str, object], pauses_s: tuple[float, ...]
) -> list[Round]:
    """Run one stack and return its rounds. Raises `NoQuotes`."""
    with tempfile.TemporaryDirectory() as folder:
        config_dir = Path(folder) / "config"
        config_dir.mkdir()
        (config_dir / f"{INSTANCE}.json").write_text(json.dumps(config(pace)), encoding="utf-8")
        options = StackOptions(
            run_dir=Path(folder),
            config_dir=config_dir,
            fresh=True,
            simulator_arguments=(
                *("--flow", "still", "--latency-ms", str(latency_ms)),
                *("--rate-per-min", str(REQUESTS_PER_MINUTE)),
            ),
            environ={**environment(), "CLEANBOOK_REQUESTS_PER_MINUTE": str(REQUESTS_PER_MINUTE)},
        )
        _say(f"starting a stack for {pace}")
        with Stack(options) as stack, requests.Session() as http:
            http.trust_env = False
            context = open_context(stack.settings())
            tail = JournalTail(stack.data_dir / "journal.jsonl")
            if not start_instance(context, INSTANCE, by="bench").result.started:
                raise NoQuotes("the instance is not stopped")
            record = context.instances.read(INSTANCE)
            assert record is not None  # it was started
            bench = Rounds(stack=stack, context=context, http=http, tail=tail, slot=record.slot)
            bench.settle()
            bench.wait_for_feed()
            measured = []
            for number in range(1 - WARM_UP, rounds + 1):
                pause_s = pauses_s[number % len(pauses_s)]
                this = bench.play(number, pause_s=pause_s, floor_ms=bench.floor())
                if number > 0:
                    measured.append(this)
                    _say(f"{number}/{rounds}: {this.whole_ms:.1f} ms, floor {this.floor_ms:.1f} ms")
    return measured


def config(pace: dict[str, object]) -> dict[str, object]:
    """Return the instance's file."""
    return {
        "metadata": {
            "instance_id": INSTANCE,
            "exchange": "backpack",
            "symbol": SYMBOL,
            "market_type": "spot",
            "strategy": "standard",
        },
        "exchange_config": {},
        "strategy_config": {
            "spread": "1",
            "max_orders": 1,
            "quantity": QUANTITY,
            "enable_rebalance": False,
            "refresh_tolerance_bps": MOVE_BPS,
            **pace,
        },
        "live": False,
    }


def _report(woken: list[Round], scheduled: list[Round], latency_ms: int, loads: list[float]) -> None:
    whole_ms = [each.whole_ms for each in woken]
    floors_ms = [each.floor_ms for each in woken]
    rows = {
        f"woken, every {INTERVAL_S:g} s: move → quotes": whole_ms,
        "move → its book kept by the feed": [each.kept_ms for each in woken],
        "kept → claimed by a worker": [each.claimed_ms - each.kept_ms for each in woken],
        "claimed → both quotes accepted": [each.whole_ms - each.claimed_ms for each in woken],
        "floor: the same requests alone": floors_ms,
        f"not woken, every {SCHEDULED_S:g} s: move → quotes": [each.whole_ms for each in scheduled],
    }
    print(table(rows, with_p99=True, digits=1))
    print(
        json.dumps(
            {
                "bench": "quote_reaction",
                "rounds": len(woken),
                "latency_ms": latency_ms,
                "loads_1_min": [round(load, 2) for load in (*loads, os.getloadavg()[0])],
                "whole_p50_ms": round(median(whole_ms), 1),
                "whole_p99_ms": round(nearest_rank(whole_ms, 0.99), 1),
                "floor_p50_ms": round(median(floors_ms), 1),
                "ratio_to_floor": round(median(whole_ms) / median(floors_ms), 2),
                "scheduled_max_ms": round(max(each.whole_ms for each in scheduled), 1),
                "ratio_to_scheduled": round(
                    median(whole_ms) / median([each.whole_ms for each in scheduled]), 4
                ),
            }
        )
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

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
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.figures import median, nearest_rank, table  # noqa: E402 - the checkout is put on the path first
from bench.maker_file import maker_file  # noqa: E402
from bench.progress import say  # noqa: E402
from bench.quote_rounds import INSTANCE, MOVE_BPS, QUANTITY, SYMBOL, Round, Rounds  # noqa: E402
from bench.reaction_stack import open_reaction_stack  # noqa: E402

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
    say(f"starting a stack for {pace}")
    with open_reaction_stack(config(pace), latency_ms=latency_ms) as running:
        bench = Rounds(running=running)
        bench.settle()
        bench.wait_for_feed()
        measured = []
        for number in range(1 - WARM_UP, rounds + 1):
            pause_s = pauses_s[number % len(pauses_s)]
            this = bench.play(number, pause_s=pause_s, floor_ms=bench.floor())
            if number > 0:
                measured.append(this)
                say(f"{number}/{rounds}: {this.whole_ms:.1f} ms, floor {this.floor_ms:.1f} ms")
    return measured


def config(pace: dict[str, object]) -> dict[str, Any]:
    """Return the instance's file."""
    content = maker_file(INSTANCE, symbol=SYMBOL, orders=2, interval_s=INTERVAL_S, quantity=QUANTITY)
    content["strategy_config"] |= {"refresh_tolerance_bps": MOVE_BPS, **pace}
    return content


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


if __name__ == "__main__":
    sys.exit(main())

"""What profit takes of a desk that has traded for months: from the first fill on, and from what is folded.

    python bench/profit_at_scale.py [--quick] [--instances N] [--fills N] [--url URL]

A ledger in a file of its own, or an empty one at `--url` (postgresql://...), with 200 fills a day of each
instance, up to now. Each question is asked before anything is folded, and again afterwards; every row has to
be the same. Then a fill comes three days late. Progress goes to standard error; standard output ends with one
line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from sqlalchemy import insert, literal, select  # noqa: E402 - the checkout is put on the path first

from bench.figures import median  # noqa: E402
from ledger import schema  # noqa: E402
from ledger.bookings import FillBooking  # noqa: E402
from ledger.database import Ledger, open_ledger  # noqa: E402
from ledger.folded_days import extend  # noqa: E402
from ledger.folding import DAY_MS, day_of  # noqa: E402
from ledger.profit import Grouping, profit  # noqa: E402
from ledger.progress import progress  # noqa: E402
from market.orders import Side  # noqa: E402

INSTANCES, QUICK_INSTANCES = 100, 5
FILLS = 20_000
FILLS_A_DAY = 200
SETTLED_MS = 600_000
#: Who is asked about alone.
ONE = "mm_0001"
TIMES = 5


@dataclass(kw_only=True)
class Folded:
    """What folding took: seconds of all its transactions, and of each."""

    seconds: float = 0.0
    transactions_s: list[float] = field(default_factory=list)


def main() -> int:
    """Measure, print a table, and end with one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_INSTANCES} instances, under 40 s")
    parser.add_argument("--instances", type=int, default=0, help=f"default {INSTANCES}")
    parser.add_argument("--fills", type=int, default=FILLS, help="of each instance")
    parser.add_argument("--url", default="", help="of an empty ledger; default: SQLite, thrown away")
    options = parser.parse_args()
    instances = options.instances or (QUICK_INSTANCES if options.quick else INSTANCES)
    loads = [os.getloadavg()[0]]
    with (
        tempfile.TemporaryDirectory() as folder,
        open_ledger(options.url or f"sqlite:///{folder}/ledger.sqlite") as ledger,
    ):
        figures = _measure(ledger, instances, options.fills)
    figures["machine_loads"] = [*loads, os.getloadavg()[0]]
    print(json.dumps(figures))
    return 0


def _measure(ledger: Ledger, instances: int, fills: int) -> dict[str, Any]:
    now_ms = time.time_ns() // 1_000_000
    _say(f"writing {fills} fills of each of {instances} instances")
    _write(ledger, instances, fills, now_ms)
    asked = _questions(ledger, now_ms)
    _say("asking, with nothing folded")
    before = {name: _timed(ask, 1) for name, ask in asked.items()}
    _say("folding")
    folded = _fold(ledger, now_ms)
    _say("asking again")
    after = {name: _timed(ask, TIMES) for name, ask in asked.items()}
    for name, (_, answer) in after.items():
        assert answer == before[name][1], f"{name} is another one"
    _say("a fill comes late")
    booked_s, _ = _timed(lambda: ledger.book([_late(now_ms)]), 1)
    late_s, late = _timed(asked["profit of one"], 1)
    again = _fold(ledger, now_ms)
    assert _timed(asked["profit of one"], 1)[1] == late != after["profit of one"][1]
    _print(before, after)
    return {
        "dialect": ledger.dialect,
        "instances": instances,
        "fills": instances * fills,
        "before_s": {name: round(seconds, 4) for name, (seconds, _) in before.items()},
        "after_s": {name: round(seconds, 4) for name, (seconds, _) in after.items()},
        "ratio": {name: round(before[name][0] / after[name][0], 1) for name in asked},
        "folding_s": round(folded.seconds, 1),
        "folding_us_per_fill": round(folded.seconds / (instances * fills) * 1e6, 1),
        "longest_transaction_s": round(max(folded.transactions_s), 3),
        "nothing_to_fold_s": round(_timed(lambda: _fold(ledger, now_ms), TIMES)[0], 4),
        "late_fill_booked_s": round(booked_s, 4),
        "late_fill_profit_s": round(late_s, 4),
        "late_fill_folded_s": round(again.seconds, 3),
    }


def _questions(ledger: Ledger, now_ms: int) -> dict[str, Callable[[], object]]:
    today = day_of(now_ms)
    return {
        "profit of all": lambda: profit(ledger),
        "profit of one": lambda: profit(ledger, instance_id=ONE),
        "today of all": lambda: profit(ledger, by=Grouping.DAY, since_day=today),
        "chart of an hour": lambda: _last(ledger, now_ms - 3_600_000),
        "chart of 30 days": lambda: _last(ledger, now_ms - 30 * DAY_MS),
    }


def _last(ledger: Ledger, since_ms: int) -> list[tuple[Any, ...]]:
    """Return what a chart shows last; how far apart its points are before depends on what is folded."""
    found = progress(ledger, ONE, since_ms=since_ms)
    ends = [(each.points[0], each.points[-1]) for each in found]
    return [
        (point.at_ms, point.net_quantity, round(point.closed_profit, 8)) for pair in ends for point in pair
    ]


def _write(ledger: Ledger, instances: int, fills: int, now_ms: int) -> None:
    """Write the fills of one instance; those of the others are copies."""
    table = schema.fills
    copied = [column for column in table.c if column.name not in ("id", "account", "instance_id", "symbol")]
    with ledger.writing() as connection:
        connection.execute(insert(table), list(_fills(fills, now_ms)))
    for number in range(1, instances):
        owner = (f"backpack:{number % 10:010d}", f"mm_{number:04d}", f"S{number:04d}_USDC")
        rows = select(*(literal(text) for text in owner), *copied).where(table.c.instance_id == "mm_0000")
        with ledger.writing() as connection:
            names = ["account", "instance_id", "symbol", *(column.name for column in copied)]
            connection.execute(insert(table).from_select(names, rows))


def _fills(count: int, now_ms: int) -> Iterator[dict[str, Any]]:
    drawn = random.Random(1)
    cents = 10_000
    for number in range(count):
        cents += drawn.randint(-3, 3)
        yield {
            "account": f"backpack:{0:010d}",
            "exchange": "backpack",
            "instance_id": "mm_0000",
            "epoch": 1,
            "symbol": "S0000_USDC",
            "market_type": "spot",
            "base_asset": "SOL",
            "quote_asset": "USDC",
            "order_id": str(number),
            "trade_id": str(number),
            "client_order_id": 1,
            "level": 0,
            "role": 0,
            "side": drawn.choice(("buy", "sell")),
            "price": Decimal(cents).scaleb(-2),
            "quantity": Decimal(drawn.randint(1, 500)).scaleb(-2),
            "fee": Decimal(drawn.randint(1, 99)).scaleb(-4),
            "fee_asset": "USDC",
            "is_maker": drawn.random() < 0.8,
            "is_system": False,
            "filled_at_ms": now_ms - (count - number) * DAY_MS // FILLS_A_DAY,
            "source": "stream",
        }


def _late(now_ms: int) -> FillBooking:
    return FillBooking(
        account=f"backpack:{1:010d}",
        instance_id=ONE,
        epoch=1,
        symbol="S0001_USDC",
        market_type="spot",
        base_asset="SOL",
        quote_asset="USDC",
        trade_id="late",
        order_id="late",
        client_order_id=1,
        level=0,
        role=0,
        side=Side.BUY,
        price=Decimal(99),
        quantity=Decimal(1),
        fee=Decimal(0),
        fee_asset="USDC",
        is_maker=True,
        filled_at_ms=now_ms - 3 * DAY_MS,
        source="rest",
    )


def _fold(ledger: Ledger, now_ms: int) -> Folded:
    folded, began_s = Folded(), time.perf_counter()
    for _ in extend(ledger, before_ms=now_ms - SETTLED_MS):
        folded.transactions_s.append(time.perf_counter() - began_s - sum(folded.transactions_s))
    folded.seconds = time.perf_counter() - began_s
    return folded


def _timed(ask: Callable[[], object], times: int) -> tuple[float, object]:
    """Return the median of the seconds that an answer takes, and the answer."""
    took_s = []
    for _ in range(times):
        began_s = time.perf_counter()
        answer = ask()
        took_s.append(time.perf_counter() - began_s)
    return median(took_s), answer


def _print(before: dict[str, tuple[float, object]], after: dict[str, tuple[float, object]]) -> None:
    print(f"| {'s':17} | from the first fill | from what is folded | ratio |")
    print("|-------------------|--------------------:|--------------------:|------:|")
    for name, (seconds, _) in before.items():
        print(f"| {name:17} | {seconds:19.3f} | {after[name][0]:19.3f} | {seconds / after[name][0]:5.0f} |")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    raise SystemExit(main())

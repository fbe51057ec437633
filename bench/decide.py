"""How long one decision takes: `decide`, then the limits (`trim`), then the plan (`reconcile`).

    python bench/decide.py [--quick]

Pure functions, no process and no network, so the time is that of the thread on its CPU: what else runs on the
machine counts as little as possible. Beside each case stands a baseline from the same run: one Decimal
multiplication per order that the case wants, which is what the value of its orders costs at least. Standard
output is a table and one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.decide_cases import Case, cases  # noqa: E402 - the checkout is put on the path first
from bench.figures import median, nearest_rank  # noqa: E402
from bench.progress import say  # noqa: E402
from market.orders import Quote  # noqa: E402
from strategies.limits import Limits, trim  # noqa: E402
from strategies.reconcile import reconcile  # noqa: E402

ROUNDS = 2000
QUICK_ROUNDS = 200
#: The clock is too coarse for one baseline.
BASELINE_TIMES = 100
#: Every limit that looks at quotes, none of which cuts any.
LIMITS = Limits(
    max_position=Decimal(10_000),
    max_order_notional=Decimal(100_000),
    max_open_orders=1000,
    price_band_bps=Decimal(10_000),
    max_data_age_s=Decimal(60),
    min_balance=Decimal(1),
)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One case's times, ms each."""

    case: Case
    orders: int
    decide_ms: Sequence[float]
    trim_ms: Sequence[float]
    reconcile_ms: Sequence[float]
    baseline_ms: Sequence[float]

    @property
    def ratio(self) -> float:
        """Return how many baselines one decision takes."""
        return median(self.decide_ms) / median(self.baseline_ms)

    @property
    def within_goal(self) -> bool | None:
        """Tell whether nine of ten decisions reach the goal; None: there is none."""
        return None if self.case.goal_ms is None else nearest_rank(self.decide_ms, 0.9) < self.case.goal_ms


def main() -> int:
    """Measure, print a table, and end with one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROUNDS} rounds, not {ROUNDS}")
    rounds = QUICK_ROUNDS if parser.parse_args().quick else ROUNDS
    measured = []
    for case in cases():
        measured.append(measure(case, rounds))
        say(f"{case.name}: {median(measured[-1].decide_ms):.3f} ms")
    print(table(measured))
    print(json.dumps(_json(measured, rounds)))
    return 0


def measure(case: Case, rounds: int) -> Measured:
    """Time a case `rounds` times, its parts by turns, so that all of them meet the same load."""
    strategy, snapshot, params = case.strategy, case.snapshot, case.params
    decision = strategy.decide(snapshot, case.state, params)
    kept, cuts = trim(
        decision.quotes, snapshot, LIMITS, position_cap=params.position_cap, taker=decision.taker
    )
    if not decision.quotes or cuts:
        limits = sorted({cut.limit for cut in cuts})
        raise RuntimeError(f"{case.name}: {len(decision.quotes)} quotes, cut by {limits}: not what was meant")
    parts: dict[str, Callable[[], object]] = {
        "decide": lambda: strategy.decide(snapshot, case.state, params),
        "trim": lambda: trim(
            decision.quotes, snapshot, LIMITS, position_cap=params.position_cap, taker=decision.taker
        ),
        "reconcile": lambda: reconcile(
            kept,
            snapshot.open_orders,
            tolerance_bps=params.refresh_tolerance_bps,
            instrument=snapshot.instrument,
            fixed_levels=strategy.fixed_levels,
        ),
        "baseline": lambda: _baseline(kept),
    }
    times_ms: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(rounds):
        for name, part in parts.items():
            began_ns = time.thread_time_ns()
            part()
            times_ms[name].append((time.thread_time_ns() - began_ns) / 1e6)
    return Measured(
        case=case,
        orders=len(kept),
        decide_ms=times_ms["decide"],
        trim_ms=times_ms["trim"],
        reconcile_ms=times_ms["reconcile"],
        baseline_ms=[taken_ms / BASELINE_TIMES for taken_ms in times_ms["baseline"]],
    )


def _baseline(quotes: Sequence[Quote]) -> None:
    pairs = [(quote.price, quote.quantity) for quote in quotes]
    for _ in range(BASELINE_TIMES):
        for price, quantity in pairs:
            price * quantity


def table(measured: Sequence[Measured]) -> str:
    """Return the figures as a table that reads well in Markdown too; times are ms."""
    width = max(len(each.case.name) for each in measured)
    lines = [
        f"| {'ms':{width}} | orders | decide p50 | p90 | goal | trim | reconcile | baseline | ratio |",
        f"|{'-' * (width + 2)}|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for each in measured:
        goal = "" if each.case.goal_ms is None else f"under {each.case.goal_ms:g}"
        lines.append(
            f"| {each.case.name:{width}} | {each.orders} | {median(each.decide_ms):.3f} "
            f"| {nearest_rank(each.decide_ms, 0.9):.3f} | {goal} | {median(each.trim_ms):.3f} "
            f"| {median(each.reconcile_ms):.3f} | {median(each.baseline_ms):.4f} | {each.ratio:.0f} |"
        )
    return "\n".join(lines)


def _json(measured: Sequence[Measured], rounds: int) -> dict[str, object]:
    return {
        "bench": "decide",
        "rounds": rounds,
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "load_1_min": round(os.getloadavg()[0], 2),
        "within_goals": all(each.within_goal is not False for each in measured),
        "cases": {
            each.case.name: {
                "orders": each.orders,
                "decide_p50_ms": round(median(each.decide_ms), 4),
                "decide_p90_ms": round(nearest_rank(each.decide_ms, 0.9), 4),
                "goal_ms": each.case.goal_ms,
                "trim_p50_ms": round(median(each.trim_ms), 4),
                "reconcile_p50_ms": round(median(each.reconcile_ms), 4),
                "baseline_p50_ms": round(median(each.baseline_ms), 5),
                "ratio": round(each.ratio, 1),
            }
            for each in measured
        },
    }


if __name__ == "__main__":
    sys.exit(main())

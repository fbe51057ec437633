"""What `stop_all.py` measured, against the least that a proven stop of everything can take."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass

from bench.figures import nearest_rank
from bench.stop_all_fleet import ORDERS
from state.budget import BudgetLimits

#: Of each stop: two lists without own orders.
LISTS = 2


@dataclass(frozen=True, kw_only=True)
class Stops:
    """One stop of everything."""

    accounts: int
    instances: int
    limits_per_minute: int
    #: From the first request to the last.
    gates_closed_s: float
    #: Each instance's proof, from the first request, ascending.
    finished_s: tuple[float, ...]
    #: The whole command.
    wall_s: float
    #: Cleanups that the command ran itself.
    by_command: int
    cpu_s: Mapping[str, float]
    #: Of the worker with its children, once all is stopped.
    worker_mb: float
    #: Requests to the exchange, by method and path.
    asked: Mapping[str, int]


def bound_s(requests: int, limits: BudgetLimits) -> float:
    """Return how long an account needs for so many requests at its rate, beginning with a full budget."""
    return max(0.0, requests - limits.burst) * 60 / limits.per_minute


def report(stops: Stops, *, latency_ms: int, children: int, load_before: float) -> None:
    """Print both on standard output."""
    limits = BudgetLimits.of(stops.limits_per_minute)
    of_one = -(-stops.instances // stops.accounts)
    cancels_s = bound_s(of_one * ORDERS, limits)
    whole_s = bound_s(of_one * (ORDERS + LISTS), limits)
    last_s = stops.finished_s[-1]
    rows = {
        "every gate closed": stops.gates_closed_s,
        "half of all proven": nearest_rank(stops.finished_s, 0.5),
        "nine of ten proven": nearest_rank(stops.finished_s, 0.9),
        "last one proven": last_s,
        "the whole command": stops.wall_s,
        "bound: cancels ÷ allowed rate": cancels_s,
        "bound: cancels and two lists each": whole_s,
    } | {f"CPU of the {name}": spent_s for name, spent_s in stops.cpu_s.items()}
    width = max(len(name) for name in rows)
    print(f"| {'s':{width}} |      |\n|{'-' * (width + 2)}|-----:|")
    for name, seconds in rows.items():
        print(f"| {name:{width}} | {seconds:4.1f} |")
    print(f"\nasked: {', '.join(f'{count} x {name}' for name, count in sorted(stops.asked.items()))}")
    print(
        json.dumps(
            {
                "bench": "stop_all",
                "instances": stops.instances,
                "accounts": stops.accounts,
                "children": children,
                "latency_ms": latency_ms,
                "requests_per_minute": stops.limits_per_minute,
                "load_1_min": [round(load_before, 2), round(os.getloadavg()[0], 2)],
                "last_proven_s": round(last_s, 2),
                "per_second": round(stops.instances / last_s, 1),
                "gates_closed_s": round(stops.gates_closed_s, 2),
                "command_s": round(stops.wall_s, 2),
                "by_command": stops.by_command,
                "worker_pss_mb": round(stops.worker_mb),
                "requests_per_stop": round(sum(stops.asked.values()) / stops.instances, 2),
                "bound_cancels_s": round(cancels_s, 2),
                "bound_s": round(whole_s, 2),
                "ratio_to_bound": round(last_s / whole_s, 2) if whole_s else None,
                "cpu_ms_per_stop": {
                    name: round(spent_s * 1000 / stops.instances, 1) for name, spent_s in stops.cpu_s.items()
                },
            }
        )
    )

"""What `iteration_cost.py` measured, as tables and as one line of JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean

from bench.command_counts import per_iteration
from bench.cost_chains import Measured
from bench.cost_trips import IterationTrips
from bench.figures import nearest_rank

#: Goals: CPU of an iteration against the raw chain's, and trips to the state server.
MOST_RATIO, MOST_TRIPS = 1.5, 3
COLUMNS = (
    *(
        "instances",
        "every s",
        "",
        "iterations/s",
        "CPU ms/iteration",
        "of it server",
        "ratio",
        "late p50 ms",
        "p99",
    ),
    *("own commands", "Celery's", "main: own", "main: Celery's", "REST", "unlike"),
)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """As many raw chains as instances, at the same interval."""

    instances: int
    interval_s: float
    raw: Measured
    ours: Measured

    @property
    def ratio(self) -> float:
        """Return the CPU time of an iteration of ours, in those of the raw chain."""
        return cpu_ms(self.ours) / cpu_ms(self.raw)


def cpu_ms(measured: Measured) -> float:
    """Return the CPU time of an iteration, ms: the worker's processes and the state server."""
    return (measured.worker_cpu_s + measured.server_cpu_s) / measured.iterations * 1000


def report(
    cells: Sequence[Cell],
    trips: IterationTrips,
    raw_late_ms: Callable[[tuple[float, float]], tuple[float, ...]],
    *,
    orders: int,
    fsync: str,
    loads: Sequence[float],
) -> None:
    """Print everything on standard output."""
    most_trips, most_requests = max(trips.state_server), max(trips.exchange)
    print(f"| {' | '.join(COLUMNS)} |")
    print("|---:" * len(COLUMNS) + "|")
    for cell in cells:
        print(_row(cell, "raw", cell.raw, raw_late_ms(cell.raw.span_ms)))
        print(_row(cell, "ours", cell.ours, cell.ours.late_ms))
    print(
        f"\nOne chain alone, at most of {len(trips.exchange)}: {most_trips} trips to the state server "
        f"and {most_requests} to the exchange. Feed: "
        + ", ".join(f"{cell.ours.feed_cpu_s / cell.ours.seconds:.1%} of a core" for cell in cells)
    )
    worst = max(cell.ratio for cell in cells)
    figures = {
        "bench": "iteration_cost",
        "orders": orders,
        "fsync": fsync,
        "cells": [_figures(cell, raw_late_ms(cell.raw.span_ms)) for cell in cells],
        "trips": most_trips,
        "requests": most_requests,
        # On average: one that found the feed late does not count for all.
        "mean_trips": mean(trips.state_server),
        "mean_requests": mean(trips.exchange),
        "worst_ratio": round(worst, 2),
        "within_ratio": worst <= MOST_RATIO,
        "within_trips": most_trips <= MOST_TRIPS,
        "no_requests": most_requests == 0,
        "load": [round(load, 2) for load in loads],
    }
    print(json.dumps(figures))


def _row(cell: Cell, name: str, measured: Measured, late_ms: Sequence[float]) -> str:
    commands, listened = measured.commands, measured.listened
    cells = [
        str(cell.instances),
        f"{cell.interval_s:g}",
        name,
        f"{measured.iterations / measured.seconds:.0f}",
        f"{cpu_ms(measured):.2f}",
        f"{measured.server_cpu_s / measured.iterations * 1000:.2f}",
        f"{cell.ratio:.2f}" if measured is cell.ours else "1",
        f"{nearest_rank(late_ms, 0.5):.1f}",
        f"{nearest_rank(late_ms, 0.99):.1f}",
        *(
            f"{per_iteration(counts, listened):.2f}"
            for counts in (commands.ours, commands.celery, commands.main_ours, commands.main_celery)
        ),
        f"{measured.requests:.2f}",
        str(measured.unlike),
    ]
    return f"| {' | '.join(cells)} |"


def _figures(cell: Cell, raw_late_ms: Sequence[float]) -> dict[str, object]:
    ours = cell.ours
    return {
        "instances": cell.instances,
        "interval_s": cell.interval_s,
        "ratio": round(cell.ratio, 3),
        "raw_cpu_ms": round(cpu_ms(cell.raw), 3),
        "ours_cpu_ms": round(cpu_ms(ours), 3),
        "raw_late_ms": [round(nearest_rank(raw_late_ms, part), 1) for part in (0.5, 0.99)],
        "ours_late_ms": [round(nearest_rank(ours.late_ms, part), 1) for part in (0.5, 0.99)],
        "ours_per_s": round(ours.iterations / ours.seconds, 1),
        "raw_per_s": round(cell.raw.iterations / cell.raw.seconds, 1),
        "own_commands": dict(ours.commands.ours),
        "celery_commands": dict(ours.commands.celery),
        "listened": ours.listened,
        "requests_per_iteration": round(ours.requests, 3),
        "unlike": ours.unlike,
    }

"""What `side_by_side.py` measured, as a table and as one line of JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass

from bench.figures import median


@dataclass(frozen=True, kw_only=True)
class Side:
    """One way to run the instances."""

    #: PSS of all its processes.
    memory_mb: float
    #: CPU time of all its processes, for each iteration.
    cpu_ms: float
    iterations: int
    #: To the exchange, for each iteration.
    requests: float
    #: From asking for the stop of one instance to knowing that it is over.
    stop_s: tuple[float, ...]
    #: Orders on the book after SIGKILL of everything.
    rest_after_kill: int
    #: Likewise once the user has stopped all.
    rest_after_stop: int
    stop_all_s: float


def report(loops: Side, tasks: Side, *, instances: int, latency_ms: int, loads: Sequence[float]) -> None:
    """Print both on standard output."""
    rows: list[tuple[str, float, float]] = [
        ("memory of all, MB", loops.memory_mb, tasks.memory_mb),
        ("memory for each instance, MB", loops.memory_mb / instances, tasks.memory_mb / instances),
        ("CPU for each iteration, ms", loops.cpu_ms, tasks.cpu_ms),
        ("requests for each iteration", loops.requests, tasks.requests),
        ("stop of one, median, s", median(loops.stop_s), median(tasks.stop_s)),
        ("stop of one, longest, s", max(loops.stop_s), max(tasks.stop_s)),
        ("orders that rest after SIGKILL of everything", loops.rest_after_kill, tasks.rest_after_kill),
        ("orders that rest once the user has stopped all", loops.rest_after_stop, tasks.rest_after_stop),
    ]
    print("| | a process each | tasks | ratio |\n|---|---:|---:|---:|")
    for name, loop, task in rows:
        ratio = f"{task / loop:.2f}" if loop else ""
        print(f"| {name} | {_short(loop)} | {_short(task)} | {ratio} |")
    print(f"\n`stop --all` after the kill, without a worker: {tasks.stop_all_s:.1f} s")
    print(
        json.dumps(
            {
                "bench": "side_by_side",
                "instances": instances,
                "latency_ms": latency_ms,
                "loads_1_min": [round(load, 2) for load in (*loads, os.getloadavg()[0])],
                "iterations": [loops.iterations, tasks.iterations],
                "memory_mb": [round(loops.memory_mb), round(tasks.memory_mb)],
                "memory_ratio": round(tasks.memory_mb / loops.memory_mb, 2),
                "cpu_ms": [round(loops.cpu_ms, 1), round(tasks.cpu_ms, 1)],
                "cpu_ratio": round(tasks.cpu_ms / loops.cpu_ms, 2),
                "stop_p50_s": [round(median(loops.stop_s), 2), round(median(tasks.stop_s), 2)],
                "stop_ratio": round(median(tasks.stop_s) / median(loops.stop_s), 2),
                "rest_after_kill": [loops.rest_after_kill, tasks.rest_after_kill],
                "rest_after_stop": [loops.rest_after_stop, tasks.rest_after_stop],
                "stop_all_s": round(tasks.stop_all_s, 2),
            }
        )
    )


def _short(value: float) -> str:
    return f"{value:.0f}" if isinstance(value, int) or value >= 100 else f"{value:.2f}"

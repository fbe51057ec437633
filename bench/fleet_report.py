"""What a fleet's iterations did in a span of time, and what it took of the machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.figures import median, nearest_rank
from bench.process_usage import Use, total

#: Kinds of processes; ours is all but the exchange.
KINDS = ("workers", "cleanup", "feed", "server", "exchange")
OURS = KINDS[:-1]
GOAL_LATE_P99_MS = 250
GOAL_MEMORY_MB = 1024


@dataclass(frozen=True, kw_only=True)
class Span:
    """One measured stretch of a fleet that runs."""

    instances: int
    workers: int
    interval_s: float
    seconds: float
    #: Iterations that began.
    iterations: int
    #: How late they were, and others that are overdue at the end of the span.
    late_ms: tuple[int, ...]
    failed: int
    #: Iterations that a sweep found overdue.
    swept: int
    #: Questions and orders to the exchange.
    requests: int
    #: By kind: CPU time within the span, memory at its end.
    uses: Mapping[str, Use]
    #: Of the state server's data.
    data_mb: float
    #: From the start, or another number of workers, until nobody was late of it any more.
    settled_s: float = 0.0

    @property
    def memory_mb(self) -> float:
        """Return the memory of all our processes together, the state server among them."""
        return self.ours.pss_mb

    @property
    def ours(self) -> Use:
        """Return what all our processes took together."""
        return total(self.uses[kind] for kind in OURS)

    @property
    def is_met(self) -> bool:
        """Tell whether it was on time, in memory, and nothing failed."""
        late = nearest_rank(self.late_ms, 0.99)
        return late < GOAL_LATE_P99_MS and self.memory_mb < GOAL_MEMORY_MB and not self.failed

    def cpu_percent(self, kind: str) -> float:
        """Return the CPU time of one kind of process, per cent of one core."""
        return self.uses[kind].cpu_s / self.seconds * 100

    def figures(self) -> dict[str, Any]:
        """Return everything as one JSON object."""
        done = self.iterations
        return {
            "instances": self.instances,
            "settled_s": round(self.settled_s, 1),
            "workers": self.workers,
            "interval_s": self.interval_s,
            "iterations_per_s": round(done / self.seconds, 1),
            "late_p50_ms": median(self.late_ms),
            "late_p99_ms": nearest_rank(self.late_ms, 0.99),
            "late_max_ms": max(self.late_ms),
            "failed": self.failed,
            "swept": self.swept,
            "requests_per_iteration": round(self.requests / done, 2),
            "worker_cpu_ms_per_iteration": round(self.uses["workers"].cpu_s / done * 1000, 2),
            "cpu_percent": {kind: round(self.cpu_percent(kind), 1) for kind in KINDS},
            "pss_mb": {kind: round(self.uses[kind].pss_mb, 1) for kind in KINDS},
            "uss_mb": {kind: round(self.uses[kind].uss_mb, 1) for kind in KINDS},
            "memory_mb": round(self.memory_mb, 1),
            "data_mb": round(self.data_mb, 1),
            "met": self.is_met,
        }


def slope(spans: Sequence[Span], of: str) -> float:
    """Return by how much a figure grows with each instance, from the smallest to the largest fleet."""
    first, last = spans[0], spans[-1]
    ends = [
        span.memory_mb if of == "memory" else span.ours.cpu_s / span.seconds * 100 for span in (first, last)
    ]
    return (ends[1] - ends[0]) / (last.instances - first.instances)


def print_table(spans: Sequence[Span]) -> None:
    """Print a table that reads well in Markdown too."""
    heads = (
        *("instances", "every s", "workers", "iterations/s", "late p50 ms", "p99", "max", "swept"),
        *("CPU % workers", "cleanup", "feed", "server", "exchange"),
        *(
            "ms CPU/iteration",
            "requests/iteration",
            "PSS MB workers",
            "cleanup",
            "feed",
            "server",
            "together",
        ),
    )
    print(f"| {' | '.join(heads)} |")
    print(f"|{'|'.join(['---:'] * len(heads))}|")
    for span in spans:
        found = span.figures()
        row = (
            *(span.instances, f"{span.interval_s:g}", span.workers, found["iterations_per_s"]),
            *(f"{found[f'late_{name}_ms']:.0f}" for name in ("p50", "p99", "max")),
            span.swept,
            *(f"{span.cpu_percent(kind):.0f}" for kind in KINDS),
            *(found["worker_cpu_ms_per_iteration"], found["requests_per_iteration"]),
            *(f"{span.uses[kind].pss_mb:.0f}" for kind in OURS),
            f"{span.memory_mb:.0f}",
        )
        print(f"| {' | '.join(str(each) for each in row)} |")

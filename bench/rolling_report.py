"""What iterations did while something happened to their workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from bench.figures import median, nearest_rank


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One part of the run."""

    name: str
    iterations: int
    #: How long after its time an iteration began, by the time since the one before it, ms.
    late_p50_ms: float
    late_p99_ms: float
    late_max_ms: float
    #: Iterations that began more than a whole interval late, so that the one after it was left out.
    ticks_left_out: int
    #: Iterations that a sweep found overdue: nobody had been told of them.
    swept: int
    #: How long each worker took from the request to its end, s.
    ended_s: tuple[float, ...]


def figures_of(
    name: str,
    traces: Mapping[str, Sequence[Mapping[str, str]]],
    *,
    interval_ms: int,
    since_ms: int,
    until_ms: int,
    ended_s: Sequence[float],
    swept: int,
) -> Figures:
    """Return the figures of all iterations that began between two moments.

    Raises:
        ValueError: an instance has no iteration in that time, or two of the same tick.
    """
    late_ms: list[float] = []
    for instance, trace in traces.items():
        claims = [entry for entry in trace if entry["event"] == "claimed" and entry["kind"] == "tick"]
        for before, after in pairwise(claims):
            if int(after["tick"]) <= int(before["tick"]):
                raise ValueError(f"{instance}: {after} comes after {before}")
        times = [int(entry["at_ms"]) for entry in claims]
        gaps = [after - before for before, after in pairwise(times) if since_ms <= after <= until_ms]
        if not gaps:
            raise ValueError(f"{instance} did not iterate during {name!r}")
        # One that is on its way at the end, and late by now.
        gaps.append(max(until_ms - times[-1], interval_ms))
        late_ms += [gap - interval_ms for gap in gaps]
    return Figures(
        name=name,
        iterations=len(late_ms) - len(traces),
        late_p50_ms=median(late_ms),
        late_p99_ms=nearest_rank(late_ms, 0.99),
        late_max_ms=max(late_ms),
        ticks_left_out=sum(late > interval_ms for late in late_ms),
        swept=swept,
        ended_s=tuple(round(each, 2) for each in ended_s),
    )


def print_table(parts: Sequence[Figures], interval_s: float) -> None:
    """Print a table that reads well in Markdown too."""
    width = max(len(part.name) for part in parts)
    heads = ("iterations", "late p50 ms", "p99", "max", "left out", "swept", "workers ended after s")
    print(f"| {'':{width}} | {' | '.join(heads)} |")
    print(f"|{'-' * (width + 2)}|{'|'.join(['---:'] * len(heads))}|")
    for part in parts:
        ended = ", ".join(f"{each:.1f}" for each in part.ended_s)
        late = (part.late_p50_ms, part.late_p99_ms, part.late_max_ms)
        figures = (part.iterations, *(f"{each:.0f}" for each in late), part.ticks_left_out, part.swept, ended)
        print(f"| {part.name:{width}} | {' | '.join(str(figure) for figure in figures)} |")
    print(f"\nEvery {interval_s:g} s; late: beyond that since the iteration before.\n")

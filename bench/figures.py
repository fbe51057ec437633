"""Figures of repeated measurements: percentiles, and a table that reads well in Markdown too."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence


def median(values: Sequence[float]) -> float:
    """Return the median of at least one value."""
    return statistics.median(values)


def nearest_rank(values: Sequence[float], part: float) -> float:
    """Return the smallest value that at least `part` (above 0, at most 1) of `values` do not exceed."""
    return sorted(values)[math.ceil(part * len(values)) - 1]


def table(rows_ms: Mapping[str, Sequence[float]], *, with_p99: bool = False, digits: int = 0) -> str:
    """Return count, median, 90th percentile and maximum of each row, ms; on request the 99th as well."""
    width = max(len(name) for name in rows_ms)
    names = ["p50", "p90", *(["p99"] if with_p99 else []), "max"]
    lines = [
        f"| {'ms':{width}} | {'n':>3} | {' | '.join(f'{name:>6}' for name in names)} |",
        f"|{'-' * (width + 2)}|----:|{'|'.join(['-------:'] * len(names))}|",
    ]
    for name, values in rows_ms.items():
        figures = [median(values), nearest_rank(values, 0.9)]
        figures += [nearest_rank(values, 0.99)] if with_p99 else []
        shown = " | ".join(f"{figure:6.{digits}f}" for figure in (*figures, max(values)))
        lines.append(f"| {name:{width}} | {len(values):3} | {shown} |")
    return "\n".join(lines)

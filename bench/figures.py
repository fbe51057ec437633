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


def table(rows_ms: Mapping[str, Sequence[float]]) -> str:
    """Return count, median, 90th percentile and maximum of each row, ms."""
    width = max(len(name) for name in rows_ms)
    lines = [
        f"| {'ms':{width}} | {'n':>3} | {'p50':>6} | {'p90':>6} | {'max':>6} |",
        f"|{'-' * (width + 2)}|----:|-------:|-------:|-------:|",
    ]
    for name, values in rows_ms.items():
        p50, p90 = median(values), nearest_rank(values, 0.9)
        lines.append(f"| {name:{width}} | {len(values):3} | {p50:6.0f} | {p90:6.0f} | {max(values):6.0f} |")
    return "\n".join(lines)

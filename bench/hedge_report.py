"""What `hedge_reaction.py` measured, as a table and as one line of JSON."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bench.figures import median, nearest_rank, table

BOUND_P50_MS = 40
BOUND_P99_MS = 150


@dataclass(frozen=True, kw_only=True)
class Round:
    """One fill and its hedge, ms. Those between machines' halves are differences of whole ms."""

    #: From the exchange's fill to its acceptance of the hedge, by its own clock.
    whole_ms: float
    #: From the fill until the feed had told it; None without a feed.
    told_ms: float | None
    #: From the fill until an iteration had the lease.
    claimed_ms: float
    #: From the fill until the exchange had answered the last question before the hedge.
    read_ms: float
    requests: tuple[str, ...]


def usual_requests(rounds: Sequence[Round]) -> tuple[str, ...]:
    """Return the sequence of requests that was met most often."""
    return Counter(each.requests for each in rounds).most_common(1)[0][0]


def stages(rounds: Sequence[Round]) -> dict[str, list[float]]:
    """Return what each round spent on what, by the stage's name."""
    told = [each for each in rounds if each.told_ms is not None]
    rows = {
        "fill → told to the state server": [each.told_ms for each in told if each.told_ms is not None],
        "told → claimed by a worker": [e.claimed_ms - e.told_ms for e in told if e.told_ms is not None],
        "claimed → last answer read": [each.read_ms - each.claimed_ms for each in rounds],
        "last answer → hedge accepted": [each.whole_ms - each.read_ms for each in rounds],
    }
    return {name: values for name, values in rows.items() if values}


def is_within_bound(rounds: Sequence[Round]) -> bool:
    """Tell whether hedges came as fast as they have to."""
    whole_ms = [each.whole_ms for each in rounds]
    return median(whole_ms) < BOUND_P50_MS and nearest_rank(whole_ms, 0.99) < BOUND_P99_MS


def report(
    streamed: Sequence[Round],
    polled: Sequence[Round],
    floors_ms: Sequence[float],
    *,
    interval_s: float,
    polled_interval_s: float,
    latency_ms: int,
    loads: Sequence[float],
) -> None:
    """Print both on standard output. `loads` were met on the way."""
    whole_ms = [each.whole_ms for each in streamed]
    polled_ms = [each.whole_ms for each in polled]
    rows = {
        f"stream, every {interval_s:g} s: fill → hedge": whole_ms,
        **stages(streamed),
        "floor: the same requests alone": list(floors_ms),
        f"no feed, every {polled_interval_s:g} s: fill → hedge": polled_ms,
    }
    print(table(rows, with_p99=True, digits=1))
    print()
    for requests, count in Counter(each.requests for each in streamed).most_common(4):
        print(f"{count} of {len(streamed)}: {', '.join(requests)}")
    floor_ms = median(floors_ms)
    print(
        json.dumps(
            {
                "bench": "hedge_reaction",
                "rounds": len(streamed),
                "interval_s": interval_s,
                "latency_ms": latency_ms,
                "load_1_min": [round(each, 2) for each in (*loads, os.getloadavg()[0])],
                "p50_ms": round(median(whole_ms), 1),
                "p90_ms": round(nearest_rank(whole_ms, 0.9), 1),
                "p99_ms": round(nearest_rank(whole_ms, 0.99), 1),
                "max_ms": round(max(whole_ms), 1),
                "stages_p50_ms": {
                    name: round(median(values), 1) for name, values in stages(streamed).items()
                },
                "requests": len(usual_requests(streamed)),
                "floor_p50_ms": round(floor_ms, 1),
                "ratio_to_floor": round(median(whole_ms) / floor_ms, 2),
                "polled_rounds": len(polled),
                "polled_interval_s": polled_interval_s,
                "polled_p50_ms": round(median(polled_ms), 1),
                "polled_max_ms": round(max(polled_ms), 1),
                "polled_within_interval": max(polled_ms) < polled_interval_s * 1000 + BOUND_P99_MS,
                "bound_p50_ms": BOUND_P50_MS,
                "bound_p99_ms": BOUND_P99_MS,
                "within_bound": is_within_bound(streamed),
            },
            ensure_ascii=False,
        )
    )

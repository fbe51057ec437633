"""What `stop_latency.py` measured, as a table and as one line of JSON."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bench.figures import median, nearest_rank, table
from bench.stop_flight import InFlight

#: What is asked of the whole process `manage.py stop`.
CLI_BOUND_S = 1.5


@dataclass(frozen=True, kw_only=True)
class Phases:
    """One stop, ms from its request by the state server's clock."""

    claimed_ms: float
    cancels_sent_ms: float
    orders_cancelled_ms: float
    finished_ms: float


@dataclass(frozen=True, kw_only=True)
class Floor:
    """The work that no proven stop can do without, through the adapter alone, ms from its beginning."""

    cancels_ms: float
    whole_ms: float


@dataclass(frozen=True, kw_only=True)
class Command:
    """One `manage.py stop` from outside."""

    phases: Phases
    wall_ms: float
    #: A Python that imports what the command imports, less one that does nothing.
    imports_ms: float


def report(
    stops: Sequence[Phases],
    flights: Sequence[InFlight],
    floors: Sequence[Floor],
    commands: Sequence[Command],
    latency_ms: int,
) -> None:
    """Print both on standard output."""
    by_command = [command.phases for command in commands]
    rows = {
        "request → cleanup claimed": [stop.claimed_ms for stop in stops],
        "request → cancels answered": [stop.cancels_sent_ms for stop in stops],
        "request → orders gone, two lists": [stop.orders_cancelled_ms for stop in stops],
        "request → finished": [stop.finished_ms for stop in stops],
        "in an iteration: request → it ended": [flight.released_ms for flight in flights],
        "in an iteration: request → finished": [flight.finished_ms for flight in flights],
        "floor: cancels": [floor.cancels_ms for floor in floors],
        "floor: cancels and two lists": [floor.whole_ms for floor in floors],
        "command: request → claimed": [phases.claimed_ms for phases in by_command],
        "command: request → finished": [phases.finished_ms for phases in by_command],
        "command: imports": [command.imports_ms for command in commands],
        "command: whole process": [command.wall_ms for command in commands],
    }
    print(table(rows))
    ended = Counter(str(flight.ended) for flight in flights)
    placed = Counter(flight.cancelled for flight in flights)
    print(
        f"\niterations in flight: {dict(ended)}; orders that they had placed, and how often: {dict(placed)}\n"
    )
    finish_ms = median(rows["request → finished"])
    command_finish_ms = median(rows["command: request → finished"])
    floor_ms = median(rows["floor: cancels and two lists"])
    walls_ms = rows["command: whole process"]
    bound_ms = 5 * latency_ms + 50
    print(
        json.dumps(
            {
                "bench": "stop_latency",
                "stops": len(stops),
                "latency_ms": latency_ms,
                "load_1_min": round(os.getloadavg()[0], 2),
                "claimed_p50_ms": median(rows["request → cleanup claimed"]),
                "cancels_sent_p50_ms": median(rows["request → cancels answered"]),
                "orders_cancelled_p50_ms": median(rows["request → orders gone, two lists"]),
                "finish_p50_ms": finish_ms,
                "finish_p90_ms": nearest_rank(rows["request → finished"], 0.9),
                "finish_max_ms": max(rows["request → finished"]),
                "finish_first_ms": stops[0].finished_ms,
                "flights": dict(ended),
                "flight_finish_p50_ms": median(rows["in an iteration: request → finished"]),
                "flight_finish_max_ms": max(rows["in an iteration: request → finished"]),
                "floor_p50_ms": round(floor_ms, 1),
                "ratio_to_floor": round(finish_ms / floor_ms, 2),
                "bound_ms": bound_ms,
                "within_bound": finish_ms <= bound_ms and command_finish_ms <= bound_ms,
                "cli_stops": len(commands),
                "cli_finish_p50_ms": command_finish_ms,
                "cli_import_p50_ms": round(median(rows["command: imports"]), 1),
                "cli_p50_s": round(median(walls_ms) / 1000, 3),
                "cli_max_s": round(max(walls_ms) / 1000, 3),
                "cli_bound_s": CLI_BOUND_S,
                "cli_within_bound": max(walls_ms) / 1000 < CLI_BOUND_S,
            }
        )
    )

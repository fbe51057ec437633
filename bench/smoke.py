"""Keep it fast: what must not double, as ratios within one run. No absolute time is judged.

    python bench/smoke.py [--keep]

Runs other benches with `--quick` and reads their last line. Every figure is a count, or a ratio to something
that the same run measured beside it, and has a limit that a doubling does not pass. What is over its limit is
measured again, up to twice: on a machine that does other things one reading says little. Progress goes to
standard error; standard output ends with one line of JSON. `--keep` appends that to `history.jsonl`, which
`plots.py` draws.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
HISTORY = ROOT / "bench" / "history.jsonl"
#: Of one bench; several times what it takes.
LONGEST_S = 300
#: Of a bench that is over a limit, at most.
READINGS = 3

Found = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """Something that must not grow."""

    name: str
    #: A script of this folder.
    bench: str
    read: Callable[[Found], float]
    limit: float


FIGURES = (
    Figure(
        name="CPU of an iteration ÷ raw Celery chain",
        bench="iteration_cost",
        read=lambda found: found["worst_ratio"],
        limit=3,
    ),
    Figure(
        name="trips to the state server of an iteration",
        bench="iteration_cost",
        read=lambda found: found["mean_trips"],
        limit=3.5,
    ),
    Figure(
        name="requests to the exchange of an iteration",
        bench="iteration_cost",
        read=lambda found: found["mean_requests"],
        limit=0.9,
    ),
    Figure(
        name="stop ÷ its requests alone",
        bench="stop_latency",
        read=lambda found: found["ratio_to_floor"],
        limit=2.2,
    ),
    Figure(
        name="decision of a grid ÷ a multiplication for each order",
        bench="decide",
        read=lambda found: found["cases"]["grid, 200 levels, half filled"]["ratio"],
        limit=280,
    ),
    Figure(
        name="decision of a market maker ÷ a multiplication for each order",
        bench="decide",
        read=lambda found: found["cases"]["market maker, spot"]["ratio"],
        limit=650,
    ),
    Figure(
        name="start of `manage.py stop` ÷ `python -c pass`",
        bench="cli_start",
        read=lambda found: found["cpu_ratio_to_nothing"]["manage.py stop NAME --no-wait"],
        limit=30,
    ),
    Figure(
        name="commands to the state server of an iteration, in scripts too",
        bench="sweep_at_scale",
        read=lambda found: found["commands_per_iteration"],
        limit=50,
    ),
    Figure(
        name="scripts for each lost message that four sweepers find",
        bench="sweep_at_scale",
        read=lambda found: found["scripts_per_found"],
        limit=3,
    ),
    Figure(
        name="KB of state of an instance",
        bench="sweep_at_scale",
        read=lambda found: found["bytes_each"] / 1024,
        limit=35,
    ),
)


def main() -> int:
    """Measure, print a table, and end with one line of JSON; 1 where something is over its limit."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keep", action="store_true", help=f"append the figures to {HISTORY.name}")
    options = parser.parse_args()
    loads = [os.getloadavg()[0]]
    figures = measure(FIGURES, run_bench)
    loads.append(os.getloadavg()[0])
    over = [each.name for each in FIGURES if figures[each.name] > each.limit]
    print(table(figures))
    entry = {
        "bench": "smoke",
        "at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ"),
        "commit": _commit(),
        "machine": f"{os.cpu_count()} cores, Python {platform.python_version()}",
        "load": [round(load, 2) for load in loads],
        "figures": {name: round(value, 3) for name, value in figures.items()},
        "over": over,
    }
    if options.keep:
        with HISTORY.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")
    print(json.dumps(entry, ensure_ascii=False))
    return 1 if over else 0


def measure(figures: Iterable[Figure], run: Callable[[str], Found]) -> dict[str, float]:
    """Return the figures by name; a bench with one over its limit runs again, and the least counts."""
    wanted = list(figures)
    values: dict[str, float] = {}
    for bench in dict.fromkeys(each.bench for each in wanted):
        of_bench = [each for each in wanted if each.bench == bench]
        for _ in range(READINGS):
            found = run(bench)
            for each in of_bench:
                values[each.name] = min(float(each.read(found)), values.get(each.name, math.inf))
            if all(values[each.name] <= each.limit for each in of_bench):
                break
    return values


def run_bench(name: str) -> Found:
    """Run a bench quickly and return its last line."""
    print(f"{name}.py --quick", file=sys.stderr, flush=True)
    ran = subprocess.run(
        [sys.executable, str(ROOT / "bench" / f"{name}.py"), "--quick"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        timeout=LONGEST_S,
        check=True,
    )
    found: Found = json.loads(ran.stdout.splitlines()[-1])
    return found


def table(figures: Mapping[str, float]) -> str:
    """Return each figure beside its limit, as a table that reads well in Markdown too."""
    lines = ["| figure | measured | limit | |", "|---|---:|---:|---|"]
    for each in FIGURES:
        value = figures[each.name]
        lines.append(
            f"| {each.name} | {value:.2f} | {each.limit:g} | {'OVER' if value > each.limit else ''} |"
        )
    return "\n".join(lines)


def _commit() -> str:
    ran = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return ran.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())

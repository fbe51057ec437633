"""Draw what benches measured, from the last lines that they printed.

python bench/iteration_cost.py | tail -1 > bench/plots/iteration_cost.json
python bench/plots.py            # of every bench/plots/NAME.json a NAME.svg; of history.jsonl, history.svg
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.plot_charts import Bars, Lines, draw_bars, draw_lines  # noqa: E402 - the checkout is put on the path
from bench.smoke import FIGURES, HISTORY  # noqa: E402

FOLDER = ROOT / "bench" / "plots"

Found = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Plot:
    """How the figures of one bench are drawn."""

    title: str
    bars: Callable[[Found], Sequence[Bars]]


def main() -> int:
    """Draw everything there is, and tell what was drawn."""
    for path in sorted(FOLDER.glob("*.json")):
        plot = PLOTS[path.stem]
        found = json.loads(path.read_text(encoding="utf-8"))
        text = draw_bars(plot.title, f"bench/{path.stem}.py{loads(found)}", plot.bars(found))
        path.with_suffix(".svg").write_text(text, encoding="utf-8")
        print(path.with_suffix(".svg").relative_to(ROOT))
    if HISTORY.exists():
        target = FOLDER / "history.svg"
        target.write_text(draw_lines(*history(HISTORY.read_text(encoding="utf-8"))), encoding="utf-8")
        print(target.relative_to(ROOT))
    return 0


def loads(found: Found) -> str:
    """Return in words how loaded the machine was: what a bench measured beside others is worth less."""
    kept = [
        found[name]
        for name in ("load", "load_before", "load_after", "load_1_min", "loads_1_min")
        if name in found
    ]
    values = [value for each in kept for value in (each if isinstance(each, list) else [each])]
    return f", load of the machine {min(values):.1f} to {max(values):.1f}" if values else ""


def history(text: str) -> tuple[str, str, Lines]:
    """Return title, subtitle and lines of the history: each figure as a part of its limit."""
    entries = [json.loads(line) for line in text.splitlines()]
    lines = {
        figure.name: [
            (number, entry["figures"][figure.name] / figure.limit)
            for number, entry in enumerate(entries, 1)
            if figure.name in entry["figures"]
        ]
        for figure in FIGURES
    }
    last = f"{entries[0]['at'][:10]} to {entries[-1]['at'][:10]}, each figure as a part of its limit"
    return "What must not double", last, Lines(label="measurement", lines=lines, goal=1.0)


def _iteration_cost(found: Found) -> Sequence[Bars]:
    cells = {f"{cell['instances']} every {cell['interval_s']:g} s": cell for cell in found["cells"]}
    return (
        Bars(
            label="CPU ms of an iteration",
            groups={
                name: {"raw Celery chain": cell["raw_cpu_ms"], "Cleanbook": cell["ours_cpu_ms"]}
                for name, cell in cells.items()
            },
        ),
        Bars(
            label="late, p99 ms",
            groups={
                name: {"raw Celery chain": cell["raw_late_ms"][1], "Cleanbook": cell["ours_late_ms"][1]}
                for name, cell in cells.items()
            },
        ),
    )


def _fleet(found: Found) -> Sequence[Bars]:
    spans = {
        f"{span['instances']} / {span['interval_s']:g} s, {span['workers']} w": span
        for span in found["spans"]
    }
    return (
        Bars(
            label="late, ms",
            groups={
                name: {"p50": span["late_p50_ms"], "p99": span["late_p99_ms"]} for name, span in spans.items()
            },
            goal=250,
        ),
        Bars(
            label="memory, MB",
            groups={name: {"memory": span["memory_mb"]} for name, span in spans.items()},
            goal=1024,
        ),
    )


def _recovery(found: Found) -> Sequence[Bars]:
    groups = {
        each["name"]: {name: each[f"late_{name}_ms"] for name in ("p50", "p99", "max")}
        for each in found["recoveries"]
    }
    return (Bars(label="late, ms", groups=groups, goal=found["design_ms"]),)


def _stop_all(found: Found) -> Sequence[Bars]:
    groups = {
        "gates closed": {"s": found["gates_closed_s"]},
        "last one proven": {"s": found["last_proven_s"]},
        "bound: cancels": {"s": found["bound_cancels_s"]},
        "bound: with two lists": {"s": found["bound_s"]},
    }
    return (Bars(label="seconds", groups=groups),)


def _cli_start(found: Found) -> Sequence[Bars]:
    groups = {name: {"CPU": value} for name, value in found["cpu_p50_ms"].items()}
    return (Bars(label="CPU, ms", groups=groups),)


def _sweep_at_scale(found: Found) -> Sequence[Bars]:
    kinds = {name: {"bytes": size} for name, size in found["bytes_by_kind"].items()}
    looks = {
        "compare the list": {"ms": found["look_again_ms"]},
        "signs of life": {"ms": found["heartbeats_ms"]},
        "all records": {"ms": found["glance_ms"]},
    }
    return (
        Bars(label="bytes of an instance", groups=kinds),
        Bars(label=f"ms for {found['instances']:,}", groups=looks),
    )


def _quote_reaction(found: Found) -> Sequence[Bars]:
    groups = {
        "its requests alone, p50": {"ms": found["floor_p50_ms"]},
        "move → quotes, p50": {"ms": found["whole_p50_ms"]},
        "move → quotes, p99": {"ms": found["whole_p99_ms"]},
    }
    return (Bars(label="ms", groups=groups),)


def _hedge_reaction(found: Found) -> Sequence[Bars]:
    reached = {
        "its requests alone, p50": {"ms": found["floor_p50_ms"]},
        **{f"fill → hedge, {part}": {"ms": found[f"{part}_ms"]} for part in ("p50", "p99", "max")},
    }
    stages = {name: {"ms": value} for name, value in found["stages_p50_ms"].items()}
    return Bars(label="ms (goal of p50)", groups=reached, goal=found["bound_p50_ms"]), Bars(
        label="p50, ms", groups=stages
    )


def _side_by_side(found: Found) -> Sequence[Bars]:
    def pair(name: str) -> Mapping[str, float]:
        return dict(zip(("a process each", "tasks"), found[name], strict=True))

    left = {"after SIGKILL": pair("rest_after_kill"), "and once all is stopped": pair("rest_after_stop")}
    return (
        Bars(label="memory, MB", groups={f"{found['instances']} instances": pair("memory_mb")}),
        Bars(label="CPU of an iteration, ms", groups={"": pair("cpu_ms")}),
        Bars(label="stop of one, p50 s", groups={"": pair("stop_p50_s")}),
        Bars(label="orders that rest", groups=left),
    )


def _stop_latency(found: Found) -> Sequence[Bars]:
    groups = {
        "its requests alone, p50": {"ms": found["floor_p50_ms"]},
        "stop, p50": {"ms": found["finish_p50_ms"]},
        "stop, p90": {"ms": found["finish_p90_ms"]},
        "stop, the first": {"ms": found["finish_first_ms"]},
        "stop in an iteration, p50": {"ms": found["flight_finish_p50_ms"]},
        "the whole command, p50": {"ms": found["cli_p50_s"] * 1000},
    }
    return (Bars(label="ms", groups=groups),)


PLOTS = {
    "iteration_cost": Plot(title="What an iteration costs", bars=_iteration_cost),
    "fleet": Plot(title="A fleet on one machine", bars=_fleet),
    "recovery": Plot(title="After the end of a worker", bars=_recovery),
    "stop_all": Plot(title="A stop of all", bars=_stop_all),
    "cli_start": Plot(title="Start of commands", bars=_cli_start),
    "stop_latency": Plot(title="A stop of one", bars=_stop_latency),
    "quote_reaction": Plot(title="From a move of the market to new quotes", bars=_quote_reaction),
    "hedge_reaction": Plot(title="From a fill to its hedge", bars=_hedge_reaction),
    "side_by_side": Plot(title="Tasks beside a process for each instance", bars=_side_by_side),
    "sweep_at_scale": Plot(title="State of very many instances", bars=_sweep_at_scale),
}


if __name__ == "__main__":
    sys.exit(main())

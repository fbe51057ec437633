"""The table: what came of each class of fault, in one run or in all runs of a folder."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from cli.stack.stack import ROOT
from tests.chaos.auditor import Verdict
from tests.chaos.catalogue import CLASSES, MIXED
from tests.chaos.evidence import Evidence
from tests.chaos.failover import FAILOVERS
from tests.chaos.hosts import CUTS
from tests.chaos.recovery import Violation

RESULTS_FILE = "results.jsonl"
#: What happened outside of any round.
CALM = "no fault"


class Row(BaseModel):
    """One class of fault."""

    model_config = ConfigDict(extra="forbid")

    rounds: int = 0
    #: Times it was part of a mixed round.
    in_mixed: int = 0
    violations: int = 0
    again_ms: list[int] = Field(default_factory=list)
    clean_ms: list[int] = Field(default_factory=list)


class Result(BaseModel):
    """One run."""

    model_config = ConfigDict(extra="forbid")

    command: str
    seed: int
    #: Of chaos: from the first round's begin to the end of the last one's recovery.
    chaos_s: float
    mixed_s: float
    machine: str
    #: Of the checkout, empty where git does not tell.
    commit: str = ""
    #: 1-minute load at the rounds' ends.
    load_mean: float
    load_max: float
    orders: int
    fills: int
    iterations: int
    runs: int
    clean_receipts: int
    foreign_orders: int
    rows: dict[str, Row]
    violations: list[dict[str, Any]]


def machine() -> str:
    """Return what it ran on."""
    return f"{platform.system()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def commit() -> str:
    """Return the commit of the checkout, empty where git does not tell."""
    command = ("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD")
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except FileNotFoundError:
        return ""


def summarise(found: Evidence, verdict: Verdict, *, command: str, seed: int) -> Result:
    """Return the figures of a run."""
    rows: dict[str, Row] = {}
    for each in found.rounds:
        row = rows.setdefault(each.row, Row())
        row.rounds += 1
        row.again_ms += verdict.recoveries[each.number].again_ms
        row.clean_ms += verdict.recoveries[each.number].clean_ms
        if each.row == MIXED:
            for fault in each.faults:
                rows.setdefault(fault.name, Row()).in_mixed += 1
    for violation in verdict.violations:
        rows.setdefault(row_of(found, violation), Row()).violations += 1
    events = Counter(entry["event"] for entry in found.journal)
    orders = found.orders().values()
    begins = [each.begun_at_ms for each in found.rounds]
    spans = list(zip(begins, [*begins[1:], found.until_ms], strict=True))
    loads = [each.load for each in found.rounds] or [0.0]
    return Result(
        command=command,
        seed=seed,
        chaos_s=round(sum(end - begin for begin, end in spans) / 1000, 1),
        mixed_s=round(
            sum(e - b for (b, e), each in zip(spans, found.rounds, strict=True) if each.row == MIXED) / 1000,
            1,
        ),
        machine=machine(),
        commit=commit(),
        load_mean=round(sum(loads) / len(loads), 2),
        load_max=max(loads),
        orders=events["order_accepted"],
        fills=events["fill"],
        iterations=sum(step.kind == "committed" for step in found.steps),
        runs=len(found.runs),
        clean_receipts=sum(receipt.is_clean for run in found.runs for receipt in run.receipts),
        foreign_orders=sum(not (o.account == "demo" and o.slot in found.names) for o in orders),
        rows=rows,
        violations=[vars_of(each, row_of(found, each)) for each in verdict.violations],
    )


def row_of(found: Evidence, violation: Violation) -> str:
    """Return the row that a violation counts for: the last round that had begun."""
    begun = [each for each in found.rounds if each.begun_at_ms <= violation.at_ms]
    return begun[-1].row if begun else CALM


def vars_of(violation: Violation, row: str) -> dict[str, Any]:
    """Return a violation for JSON."""
    return {
        "rule": violation.rule,
        "fault": row,
        "instance": violation.instance_id,
        "epoch": violation.epoch,
        "at_ms": violation.at_ms,
        "text": violation.text,
        "journal_lines": list(violation.journal_lines),
    }


def keep(result: Result, folder: Path) -> None:
    """Add a result to those of a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / RESULTS_FILE).open("a", encoding="utf-8") as file:
        file.write(result.model_dump_json() + "\n")


def kept(folder: Path) -> list[Result]:
    """Return every result of a folder."""
    lines = (folder / RESULTS_FILE).read_text(encoding="utf-8").splitlines()
    return [Result.model_validate_json(line) for line in lines]


def total_rows(results: Iterable[Result]) -> dict[str, Row]:
    """Return the rows of all results together, in the catalogue's order."""
    found: dict[str, Row] = {}
    for result in results:
        for name, row in result.rows.items():
            into = found.setdefault(name, Row())
            into.rounds += row.rounds
            into.in_mixed += row.in_mixed
            into.violations += row.violations
            into.again_ms += row.again_ms
            into.clean_ms += row.clean_ms
    order = [*CLASSES, *FAILOVERS, *CUTS, MIXED, CALM]
    return dict(sorted(found.items(), key=lambda item: order.index(item[0]) if item[0] in order else 99))


HEADER = (
    "fault",
    "runs",
    "in mixed",
    "violations",
    "iterates again p50",
    "p99",
    "stops",
    "clean p50",
    "p99",
)


def table(results: Sequence[Result]) -> list[str]:
    """Return the table as aligned Markdown lines; times in ms after the end of the fault."""
    cells = [list(HEADER)]
    for name, row in total_rows(results).items():
        cells.append(
            [
                name,
                str(row.rounds),
                str(row.in_mixed) if name not in {MIXED, CALM} else "",
                str(row.violations),
                *(_part(row.again_ms, share) for share in (0.5, 0.99)),
                str(len(row.clean_ms)),
                *(_part(row.clean_ms, share) for share in (0.5, 0.99)),
            ]
        )
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEADER))]
    lines = [_line(line, widths) for line in cells]
    rule = "|".join("-" * (widths[0] + 2) if not n else "-" * (w + 1) + ":" for n, w in enumerate(widths))
    return [lines[0], f"|{rule}|", *lines[1:]]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = zip(cells, widths, strict=True)
    return f"| {first[0]:<{first[1]}} | " + " | ".join(f"{cell:>{width}}" for cell, width in rest) + " |"


def _part(values: Sequence[int], share: float) -> str:
    """Return the value that `share` of all do not exceed, ``-`` where there are none."""
    if not values:
        return "-"
    ordered = sorted(values)
    return str(ordered[min(len(ordered) - 1, int(share * len(ordered)))])


def totals(results: Sequence[Result]) -> str:
    """Return one sentence about all results together."""
    violations = sum(len(result.violations) for result in results)
    return (
        f"{len(results)} runs, {sum(r.chaos_s for r in results) / 60:.0f} minutes of chaos, "
        f"{sum(r.mixed_s for r in results) / 60:.0f} of them mixed: {violations} violations in "
        f"{sum(row.rounds for r in results for row in r.rows.values())} rounds, "
        f"{sum(r.iterations for r in results)} iterations, {sum(r.runs for r in results)} starts, "
        f"{sum(r.clean_receipts for r in results)} clean receipts, {sum(r.orders for r in results)} orders, "
        f"{sum(r.fills for r in results)} fills, {sum(r.foreign_orders for r in results)} foreign orders."
    )


def as_json(results: Sequence[Result]) -> str:
    """Return totals and rows for machines."""
    rows = {
        name: {
            "runs": row.rounds,
            "in_mixed": row.in_mixed,
            "violations": row.violations,
            "again_ms": {"p50": _part(row.again_ms, 0.5), "p99": _part(row.again_ms, 0.99)},
            "clean_ms": {"p50": _part(row.clean_ms, 0.5), "p99": _part(row.clean_ms, 0.99)},
        }
        for name, row in total_rows(results).items()
    }
    return json.dumps(
        {
            "seeds": [result.seed for result in results],
            "chaos_s": sum(result.chaos_s for result in results),
            "rows": rows,
            "violations": [each for result in results for each in result.violations],
        }
    )

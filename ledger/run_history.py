"""The rows of `runs`, derived from an instance's events, so that the order of telling does not matter."""

from __future__ import annotations

import json
from collections.abc import Iterable

from ledger.rows import Row

#: Events that say something about a run. Retention keeps them.
RUN_EVENTS = ("started", "stop_requested", "finished")
#: Results of `finished` after which no further attempt follows by itself.
_ENDS = ("stopped", "failed")


def runs_from_events(instance_id: str, epoch: int, rows: Iterable[Row]) -> list[Row]:
    """Return the rows of `runs` for one instance and epoch; more than one where epochs began anew at 1.

    An event belongs to the newest start before it. Without any start the run's `started_at_ms` is 0.
    """
    runs: list[Row] = []
    for row in sorted(rows, key=lambda row: (row["stream_ms"], row["stream_number"])):
        said = json.loads(row["fields"])
        if row["event"] == "started" or not runs:
            runs.append(_new_run(instance_id, epoch))
        run = runs[-1]
        run["account"] = run["account"] or row["account"] or said.get("account", "")
        run["exchange"] = run["account"].partition(":")[0]
        if row["event"] == "started":
            run["started_at_ms"] = row["at_ms"]
            run["config_version"] = said.get("config_version", "")
            run["started_by"] = said.get("by", "")
        elif row["event"] == "stop_requested":
            _note_stop(run, row, said.get("by", ""), said.get("reason", ""))
        else:
            result = said.get("result", "")
            run["finished_at_ms"] = row["at_ms"] if result in _ENDS else None
            run["outcome"] = _outcome(said.get("outcome", "")) or result
    return _one_per_start(runs)


def _new_run(instance_id: str, epoch: int) -> Row:
    return {
        "account": "",
        "exchange": "",
        "instance_id": instance_id,
        "epoch": epoch,
        "started_at_ms": 0,
        "config_version": "",
        "started_by": "",
        "stop_requested_at_ms": None,
        "stop_by": "",
        "stop_reason": "",
        "finished_at_ms": None,
        "outcome": "",
    }


def _note_stop(run: Row, row: Row, by: str, reason: str) -> None:
    # A stop may be asked for again; the first request is what ended the run.
    if run["stop_requested_at_ms"] is None:
        run.update(stop_requested_at_ms=row["at_ms"], stop_by=by, stop_reason=reason)


def _one_per_start(runs: list[Row]) -> list[Row]:
    return list({run["started_at_ms"]: run for run in runs}.values())


def _outcome(text: str) -> str:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    return str(said.get("result", "")) if isinstance(said, dict) else ""

"""Start instances one by one; one that cannot start does not keep the others from it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import redis

from cli.errors import explain
from cli.exit_codes import ExitCode
from cli.inventory import committed_at_ms
from cli.language import told, tr
from cli.output import Output
from cli.session import who
from exchanges.errors import ExchangeError
from runner.config_errors import ConfigError
from runner.lifecycle import StartRefused
from runner.looks import Looks
from runner.starting import CALLED_OFF, StartOutcome, start_one
from state.connection import StateError, StateUnavailable
from state.record import Record
from state.stop_story import AcceptedLeft

if TYPE_CHECKING:
    from runner.context import Context

#: How long a start waits for the first iteration.
FIRST_ITERATION_S = 3.0
LOOK_EVERY_S = 0.05


@dataclass(frozen=True, kw_only=True)
class StartReport:
    """How the start of one instance ended."""

    instance_id: str
    #: ``running``, ``started`` (no iteration seen yet), ``already_running``, ``stopping``, ``failed``,
    #: ``cleaning``, ``changed``, ``called_off``, or ``refused``.
    result: str
    code: ExitCode
    #: 0 when nothing was started.
    epoch: int = 0
    message: str = ""
    warnings: tuple[str, ...] = ()
    #: Own orders that a failed or unfinished stop left; None when nobody knows.
    order_ids_left: tuple[str, ...] | None = ()

    def as_json(self) -> dict[str, Any]:
        """Return the report for scripts."""
        left = self.order_ids_left
        return {
            "instance_id": self.instance_id,
            "result": self.result,
            "epoch": self.epoch,
            "message": self.message,
            "warnings": list(self.warnings),
            "order_ids_left": None if left is None else list(left),
        }


def start_instances(
    context: Context,
    names: Sequence[str],
    *,
    wait: bool,
    accept: Mapping[str, AcceptedLeft] | None = None,
    restarts: Mapping[str, str] | None = None,
) -> tuple[StartReport, ...]:
    """Start every instance that can be, then wait for their first iterations together.

    `accept` has what failed runs may have left, by instance; others are not started over theirs.
    `restarts` has the marks of restarts, likewise; a stop since then calls them off.

    Raises `redis.RedisError` and `StateUnavailable` when the state server is away.
    """
    by, accepted, marks = who(), accept or {}, restarts or {}
    with Looks(context.settings) as looks:
        reports = [
            _start(context, name, by=by, accept=accepted.get(name), restart=marks.get(name, ""), looks=looks)
            for name in dict.fromkeys(names)
        ]
    if wait:
        reports = _first_iterations(context, reports)
    return tuple(reports)


def _start(
    context: Context, name: str, *, by: str, accept: AcceptedLeft | None, restart: str, looks: Looks
) -> StartReport:
    try:
        outcome = start_one(context, name, by=by, accept=accept, restart=restart, looks=looks)
    except (StateUnavailable, redis.RedisError):
        raise
    except (ConfigError, ExchangeError, StartRefused, StateError) as error:
        failure = explain(error)
        return StartReport(instance_id=name, result="refused", code=failure.code, message=failure.message)
    return StartReport(
        instance_id=name,
        result=outcome.result,
        code=_code(outcome),
        epoch=outcome.epoch,
        message=_message(outcome),
        warnings=outcome.warnings,
        order_ids_left=outcome.order_ids_left,
    )


def _message(outcome: StartOutcome) -> str:
    if outcome.result == "started":
        return tr("started (run {epoch})", epoch=outcome.epoch)
    if outcome.result == "already_running":
        return tr("is running already (run {epoch}); nothing was changed", epoch=outcome.epoch)
    if outcome.result == "called_off":
        return tr(CALLED_OFF)
    return told(outcome.message)


def _code(outcome: StartOutcome) -> ExitCode:
    if outcome.is_running:
        return ExitCode.DONE
    return ExitCode.NOT_CLEAN if outcome.has_failed else ExitCode.FAILED


def _first_iterations(context: Context, reports: list[StartReport]) -> list[StartReport]:
    deadline_s = time.monotonic() + FIRST_ITERATION_S
    pause = threading.Event()
    while any(report.result == "started" for report in reports):
        started = [report.instance_id for report in reports if report.result == "started"]
        # One that cannot be read is still waited for, and looked at by itself in the end.
        found = context.instances.read_many(started, lambda *_: None)
        records = {record.instance_id: record for record in found}
        reports = [_looked_at(report, records.get(report.instance_id)) for report in reports]
        if time.monotonic() >= deadline_s:
            break
        pause.wait(LOOK_EVERY_S)
    return [_still_waiting(context, report) if report.result == "started" else report for report in reports]


def _looked_at(report: StartReport, record: Record | None) -> StartReport:
    if record is None or record.epoch != report.epoch or committed_at_ms(record) is None or record.errors:
        return report
    return replace(
        report,
        result="running",
        message=tr("running (run {epoch}): the first iteration is done", epoch=report.epoch),
    )


def _still_waiting(context: Context, report: StartReport) -> StartReport:
    record = context.instances.read(report.instance_id)
    if record is not None and record.epoch == report.epoch and record.errors:
        warning = tr("its first iteration failed and is tried again: {error}", error=record.last_error)
    else:
        warning = tr(
            "no iteration within {time} s; manage.py doctor shows why", time=f"{FIRST_ITERATION_S:g}"
        )
    return replace(report, warnings=(*report.warnings, warning))


def show_starts(output: Output, reports: Sequence[StartReport]) -> None:
    """Print reports: results to standard output, warnings to standard error."""
    for report in reports:
        for warning in report.warnings:
            output.warn(f"{report.instance_id}: {told(warning)}")
        style = "good" if report.code is ExitCode.DONE else "bad"
        if not output.as_json:
            output.line(f"{report.instance_id}: {report.message}", style)

"""`manage.py pause` and `manage.py resume`: take the quotes of a run back and keep the rest of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click
import redis

from cli.asking import ask_each
from cli.errors import explain
from cli.exit_codes import EPILOG, ExitCode
from cli.language import told, tr
from cli.names import require_known
from cli.options import debug_option, json_option, names_argument, output_for, timeout_option
from cli.output import Output, iso, seconds
from cli.session import Session, open_session, unserved, who
from runner.pausing import (
    Paused,
    PauseRefused,
    Withdrawal,
    held_by_run,
    pause_instances,
    resume_instance,
    wait_withdrawn,
)
from state.queues import CLEANUP
from state.record import Phase, Record
from state.run_changes import ChangeResult


@dataclass(frozen=True, kw_only=True)
class _Report:
    """How it went for one instance."""

    instance_id: str
    result: str
    code: ExitCode
    message: str
    epoch: int = 0
    record: Record | None = None
    #: Base units that the run holds, None where that is not known.
    held: str | None = None

    def as_json(self) -> dict[str, Any]:
        record = self.record
        return {
            "instance_id": self.instance_id,
            "result": self.result,
            "epoch": self.epoch,
            "message": self.message,
            "paused_at": iso(record.paused_at_ms) if record else None,
            "withdrawn_at": iso(record.withdrawn_at_ms) if record else None,
            "held": self.held,
        }


@click.command(epilog=EPILOG)
@names_argument(required=False)
@click.option("--all", "every", is_flag=True, help="Every instance that runs.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until no own order is left.")
@timeout_option(60.0)
@click.option("--reason", default="", metavar="TEXT", help="Why; shown until it is resumed.")
@json_option
@debug_option
def pause(
    names: tuple[str, ...],
    every: bool,
    wait: bool,
    timeout_s: float,
    reason: str,
    as_json: bool,
    debug: bool,
) -> ExitCode:
    """Withdraw the quotes of running instances and keep their state, until they are resumed.

    From the request on no new order is allowed, hedges and closing orders included; then a worker cancels
    what rests and looks until nothing is left and nothing can still arrive. What the run holds stays as it
    is: nothing hedges or protects it. A stop works as ever, and so do the limits that end a run.

    \b
    Examples:
      manage.py pause bp_sol_01 --reason "central bank speaks at 14:00"
      manage.py pause --all
      manage.py resume bp_sol_01
    """
    output = output_for(as_json)
    session = open_session()
    chosen = _chosen(session, names, every, lambda record: record.phase is Phase.RUNNING)
    # Every gate first, then the waiting.
    paused = pause_instances(
        session.instances,
        session.changes,
        chosen,
        by=who(),
        reason=reason,
        ask_each=lambda names, ask: ask_each(output, names, _or_refused(ask)),
    )
    unsaved = [name for name, one in paused.items() if isinstance(one, Paused) and not one.is_saved]
    if unsaved:
        text = tr(
            "the state server has not written this to its disk yet, and a crash of it could take it "
            "back; the same command again makes sure"
        )
        output.warn(f"{', '.join(unsaved)}: {text}")
    missing = [queue for queue in unserved(session) if queue != CLEANUP]
    if wait and missing:
        output.warn(
            tr(
                "no worker serves queue {queues}; start one: celery -A tasks worker",
                queues=tr(" and ").join(missing),
            )
        )
    reports = [
        _refused(name, one)
        if isinstance(one, PauseRefused)
        else _ending(session, name, one, timeout_s if wait else 0.0)
        for name, one in paused.items()
    ]
    return _tell(output, reports, tr("no instance runs; nothing to pause"))


@click.command(epilog=EPILOG)
@names_argument(required=False)
@click.option("--all", "every", is_flag=True, help="Every instance that is paused.")
@json_option
@debug_option
def resume(names: tuple[str, ...], every: bool, as_json: bool, debug: bool) -> ExitCode:
    """Let paused instances quote again, beginning now, with the state that they had.

    \b
    Examples:
      manage.py resume bp_sol_01
      manage.py resume --all --json
    """
    output = output_for(as_json)
    session = open_session()
    chosen = _chosen(session, names, every, lambda record: record.is_paused)
    reports = ask_each(output, chosen, lambda name: _resume(session, name))
    return _tell(output, list(reports.values()), tr("no instance is paused"))


def _or_refused(ask: Callable[[str], ChangeResult]) -> Callable[[str], ChangeResult | PauseRefused]:
    """Return what asks likewise, and takes what the server refuses for one for an answer."""

    def asked(name: str) -> ChangeResult | PauseRefused:
        try:
            return ask(name)
        except redis.ResponseError as error:
            return PauseRefused(f"{name}: {explain(error).message}")

    return asked


def _chosen(session: Session, names: tuple[str, ...], every: bool, fits: Any) -> tuple[str, ...]:
    if bool(names) == every:
        raise click.UsageError(tr("name the instances, or use --all: one of the two"))
    if not every:
        return require_known(session, names)
    records = session.instances.read_all(lambda name, error: None)
    return tuple(record.instance_id for record in records if fits(record))


def _ending(session: Session, name: str, paused: Paused, timeout_s: float) -> _Report:
    found, record = wait_withdrawn(session.instances, name, epoch=paused.epoch, timeout_s=timeout_s)
    held = held_by_run(session.instances, record) if record else None
    code, run = ExitCode.DONE, tr("run {epoch}", epoch=paused.epoch)
    if found is Withdrawal.DONE and record is not None and record.withdrawn_at_ms is not None:
        took = seconds(record.withdrawn_at_ms - (record.paused_at_ms or 0))
        message = tr("paused ({run}), no own order left after {time}", run=run, time=took)
    elif found is Withdrawal.GOES_ON:
        message = tr(
            "paused ({run}), nothing new is placed; its orders are not known to be gone yet", run=run
        )
        # Who did not wait has got what was asked for.
        code = ExitCode.NOT_CLEAN if timeout_s else ExitCode.DONE
    else:
        message = tr("{run} was {what} meanwhile", run=run, what=tr(str(found)))
        code = ExitCode.FAILED
    if held and found in {Withdrawal.DONE, Withdrawal.GOES_ON}:
        holds = tr(
            "it holds {quantity}, which nothing hedges or protects while it is paused", quantity=f"{held:f}"
        )
        message = tr("{first}; {second}", first=message, second=holds)
    return _Report(
        instance_id=name,
        result=str(found),
        code=code,
        message=message,
        epoch=paused.epoch,
        record=record,
        held=None if held is None else f"{held:f}",
    )


def _resume(session: Session, name: str) -> _Report:
    try:
        result = resume_instance(session.changes, name, by=who())
    except PauseRefused as error:
        return _refused(name, error)
    except redis.ResponseError as error:
        return _refused(name, PauseRefused(explain(error).message))
    said = (
        tr("resumed (run {epoch})", epoch=result.epoch)
        if result.result == "resumed"
        else tr("was not paused; nothing was changed")
    )
    return _Report(
        instance_id=name,
        result=result.result,
        code=ExitCode.DONE,
        message=said,
        epoch=result.epoch,
        record=session.instances.read(name),
    )


def _refused(name: str, error: PauseRefused) -> _Report:
    message = told(error).removeprefix(f"{name}: ")
    return _Report(instance_id=name, result="refused", code=ExitCode.FAILED, message=message)


def _tell(output: Output, reports: list[_Report], nothing: str) -> ExitCode:
    code = max((report.code for report in reports), default=ExitCode.DONE)
    if output.as_json:
        output.data({"exit_code": int(code), "instances": [report.as_json() for report in reports]})
    for report in reports if not output.as_json else ():
        style = "good" if report.code is ExitCode.DONE else "bad"
        output.line(f"{report.instance_id}: {report.message}", style)
    if not reports:
        output.say(nothing)
    return code

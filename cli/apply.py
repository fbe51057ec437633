"""`manage.py apply DIR`: have just the files of a folder run."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.errors import CliError, explain
from cli.exit_codes import EPILOG, ExitCode
from cli.language import told, tr
from cli.options import debug_option, json_option, output_for, timeout_option
from cli.output import Cell, Output
from cli.proof import show_stop, stop_json
from cli.reload import show_changes
from cli.session import Session, open_full_context, open_session, who
from cli.starting import show_starts, start_instances
from cli.stopping import StopOptions, exit_code, stop_instances
from runner.apply_plan import Action, PlannedStep, install, plan_apply
from runner.config_change import ChangeRefused, change_config
from state.connection import StateError
from state.instances import new_restart_mark

if TYPE_CHECKING:
    from runner.context import Context

COLUMNS = ("INSTANCE", "ACTION", "WHY")
STYLES = {
    Action.START: "good",
    Action.UPDATE: "good",
    Action.RESTART: "warn",
    Action.STOP: "bad",
    Action.BLOCKED: "bad",
}


@dataclass(kw_only=True)
class _Done:
    """What came of a plan."""

    code: ExitCode = ExitCode.DONE
    stopped: list[dict[str, Any]] = field(default_factory=list)
    updated: list[dict[str, Any]] = field(default_factory=list)
    started: list[dict[str, Any]] = field(default_factory=list)

    def worst(self, code: ExitCode) -> None:
        self.code = max(self.code, code)


@click.command(epilog=EPILOG)
@click.argument(
    "folder",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)
@click.option("--dry-run", is_flag=True, help="Show what would happen, and do nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--prune", is_flag=True, help="Stop what runs and is not in the folder.")
@timeout_option(60.0)
@json_option
@debug_option
def apply(
    folder: Path, dry_run: bool, yes: bool, prune: bool, timeout_s: float, as_json: bool, debug: bool
) -> ExitCode:
    """Have the instance files of a folder run: start, update without a restart, restart, or leave as it is.

    Shows first what would happen, and asks. With a mistake in any file nothing is done. Files are copied to
    where start and restart look for them (CLEANBOOK_CONFIG_DIR). A second time it finds nothing to do.

    \b
    Examples:
      manage.py apply config/active --dry-run
      manage.py apply fleet/ --prune --yes --json
    """
    output = output_for(as_json)
    if as_json and not (yes or dry_run):
        raise click.UsageError(tr("--json cannot ask: add --yes or --dry-run"))
    session = open_session()
    context = open_full_context(session.settings, debug=debug)
    steps = plan_apply(context, folder, prune=prune)
    if not as_json:
        _show(output, steps)
    done = _Done(
        code=ExitCode.FAILED if any(step.action is Action.BLOCKED for step in steps) else ExitCode.DONE
    )
    due = [step for step in steps if step.is_due]
    if due and not dry_run:
        if not yes:
            _ask(len(due))
        _carry_out(
            session,
            context,
            folder,
            due,
            done,
            output,
            StopOptions(timeout_s=timeout_s, reason=f"apply {folder}", debug=debug),
        )
    if as_json:
        output.data(_as_json(steps, done, applied=bool(due) and not dry_run))
    elif not due:
        output.say(tr("nothing to do"))
    return done.code


def _show(output: Output, steps: tuple[PlannedStep, ...]) -> None:
    if steps:
        output.table(
            COLUMNS,
            [
                [
                    Cell(text=step.instance_id, style="name"),
                    Cell(text=tr(str(step.action)), style=STYLES.get(step.action, "dim")),
                    _why(step),
                ]
                for step in steps
            ],
        )
    changes = [step.change for step in steps if step.change is not None and step.change.changed]
    if changes:
        output.line()
        show_changes(output, changes)


def _why(step: PlannedStep) -> str:
    # The name stands in front of it.
    return told(step.why).removeprefix(f"{step.instance_id}: ")


def _ask(count: int) -> None:
    if not sys.stdin.isatty():
        raise CliError(tr("nobody can be asked here; --yes does it without asking"), ExitCode.BAD_USAGE)
    if not click.confirm(tr("Change {count} of them?", count=count), err=True):
        raise CliError(tr("nothing was changed"), ExitCode.FAILED)


def _carry_out(
    session: Session,
    context: Context,
    folder: Path,
    due: list[PlannedStep],
    done: _Done,
    output: Output,
    options: StopOptions,
) -> None:
    """Stop first, which frees what others may need; then update, and start last."""
    names = {action: [step.instance_id for step in due if step.action is action] for action in Action}
    options = replace(options, restarts={name: new_restart_mark() for name in names[Action.RESTART]})
    clean = _stop(session, [*names[Action.STOP], *names[Action.RESTART]], done, output, options)
    for step in due:
        if step.action is Action.UPDATE:
            _update(context, folder, step, done, output)
    # Only now: the file of what is not stopped yet must not tell another place than where it trades.
    starting = [
        step.instance_id
        for step in due
        if (step.action is Action.START or (step.action is Action.RESTART and step.instance_id in clean))
        and _is_installed(context, folder, step, done, output)
    ]
    if starting:
        reports = start_instances(context, starting, wait=True, restarts=options.restarts)
        show_starts(output, reports)
        done.started += [report.as_json() for report in reports]
        done.worst(max(report.code for report in reports))


def _stop(session: Session, names: list[str], done: _Done, output: Output, options: StopOptions) -> set[str]:
    if not names:
        return set()
    try:
        stops = stop_instances(session, names, options, output)
    except KeyboardInterrupt:
        raise CliError(tr("interrupted; stops go on, nothing else was done"), ExitCode.NOT_CLEAN) from None
    for stop in stops:
        if not output.as_json:
            show_stop(output, stop)
        done.stopped.append(stop_json(stop))
    done.worst(exit_code(stops))
    return {stop.instance_id for stop in stops if exit_code([stop]) is ExitCode.DONE}


def _is_installed(context: Context, folder: Path, step: PlannedStep, done: _Done, output: Output) -> bool:
    try:
        install(context, folder, step)
    except OSError as error:
        text = tr("its file cannot be put into place: {error}", error=error)
        output.say(tr("error: {text}", text=f"{step.instance_id}: {text}"), "bad")
        done.worst(ExitCode.FAILED)
        return False
    return True


def _update(context: Context, folder: Path, step: PlannedStep, done: _Done, output: Output) -> None:
    assert step.config is not None
    assert step.change is not None
    name, message, code = step.instance_id, "", ExitCode.DONE
    try:
        # Just what was shown, or nothing.
        change = change_config(context, step.config, by=who(), base_version=step.change.base_version)
        message = tr(
            "configuration {version} from the next iteration on (run {epoch})",
            version=change.version,
            epoch=change.epoch,
        )
        _is_installed(context, folder, step, done, output)
    except ChangeRefused as error:
        message, code = told(error).removeprefix(f"{name}: "), ExitCode.FAILED
    except StateError as error:
        failure = explain(error)
        message, code = failure.message, failure.code
    done.worst(code)
    done.updated.append({"instance_id": name, "applied": code is ExitCode.DONE, "message": message})
    if not output.as_json:
        output.line(f"{name}: {message}", "bad" if code else "good")


def _as_json(steps: tuple[PlannedStep, ...], done: _Done, *, applied: bool) -> dict[str, Any]:
    return {
        "exit_code": int(done.code),
        "applied": applied,
        "plan": [
            {
                "instance_id": step.instance_id,
                "action": step.action.replace(" ", "_"),
                "why": _why(step),
                "changed": [each.as_json() for each in step.change.changed] if step.change else [],
                "warnings": list(step.change.warnings) if step.change else [],
            }
            for step in steps
        ],
        "stopped": done.stopped,
        "updated": done.updated,
        "started": done.started,
    }

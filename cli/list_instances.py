"""`manage.py list`: every instance in one line."""

from __future__ import annotations

import click

from cli.exit_codes import EPILOG, ExitCode
from cli.inventory import Entry, entries
from cli.language import tr
from cli.lost_runs import tell_lost_runs
from cli.options import debug_option, json_option, output_for
from cli.output import Cell, Output, seconds
from cli.session import open_session, unserved
from runner.left_orders import what_failed
from state.record import Phase

COLUMNS = (
    *("INSTANCE", "STATE", "STRATEGY", "SYMBOL", "MODE", "RUN", "ITERATION", "NEXT", "ERRORS"),
    *("CONFIG", "LAST ERROR"),
)
STATE_STYLES = {"running": "good", "paused": "warn", "stopping": "warn", "failed": "bad", "damaged": "bad"}
#: Characters of an error that a line of the list shows; `status` shows all.
ERROR_LENGTH = 60


@click.command("list", epilog=EPILOG)
@json_option
@debug_option
def list_instances(as_json: bool, debug: bool) -> ExitCode:
    """List every instance that has a file or has ever run. Changes nothing.

    \b
    Examples:
      manage.py list
      manage.py list --json
    """
    output = output_for(as_json)
    session = open_session()
    found = entries(session)
    missing = unserved(session)
    if as_json:
        output.data(
            {
                "exit_code": 0,
                "unserved_queues": list(missing),
                "instances": [entry.as_json() for entry in found],
            }
        )
    else:
        show_table(output, found, missing)
    tell_lost_runs(output, session, found)
    if not found:
        output.say(tr("no instance yet: put a file into {folder}", folder=session.settings.config_dir))
    return ExitCode.DONE


def show_table(output: Output, found: tuple[Entry, ...], missing: tuple[str, ...]) -> None:
    """Print one line for each instance, and what keeps all of them from running."""
    if found:
        output.table(COLUMNS, [_row(entry) for entry in found])
    if missing and any(entry.state in STATE_STYLES for entry in found):
        queues = tr(" and ").join(missing)
        output.warn(tr("no worker serves queue {queues}; start one: celery -A tasks worker", queues=queues))


def _row(entry: Entry) -> list[str | Cell]:
    record = entry.record
    return [
        Cell(text=entry.instance_id, style="name"),
        Cell(text=tr(entry.shown_state), style=STATE_STYLES.get(entry.shown_state, "dim")),
        entry.strategy or "?",
        entry.symbol or "?",
        tr({True: "live", False: "simulated", None: "?"}[entry.live]),
        str(record.epoch) if record else "-",
        str(record.seq) if record else "-",
        next_iteration(entry),
        Cell(text=str(record.errors), style="bad" if record.errors else "") if record else "-",
        Cell(text=tr(entry.config), style="" if entry.config == "ok" else "warn"),
        _trouble(entry),
    ]


def _trouble(entry: Entry) -> str | Cell:
    """Return what is wrong with an instance now: a stop that failed before anything else."""
    record = entry.record
    if entry.damage:
        return Cell(text=entry.damage[: 2 * ERROR_LENGTH], style="bad")
    if record is None:
        return ""
    if record.phase is Phase.FAILED:
        return Cell(text=what_failed(record)[: 2 * ERROR_LENGTH], style="bad")
    return " ".join(record.last_error.split())[:ERROR_LENGTH] if record.errors else ""


def next_iteration(entry: Entry) -> str:
    """Return in words when the next iteration runs."""
    if entry.is_iterating and entry.state == "running":
        return tr("now")
    due_in_ms = entry.due_in_ms
    if due_in_ms is None:
        return "-"
    if due_in_ms >= 0:
        return tr("in {time}", time=seconds(due_in_ms))
    return tr("late {time}", time=seconds(-due_in_ms))

"""`manage.py status`: instances in detail, with the proof of their last stop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from cli.exit_codes import EPILOG, ExitCode
from cli.inventory import Entry, committed_at_ms, entries
from cli.list_instances import STATE_STYLES, next_iteration, show_table
from cli.lost_runs import tell_lost_runs
from cli.names import require_known
from cli.options import debug_option, json_option, names_argument, output_for
from cli.output import Output, iso
from cli.proof import proof_lines
from cli.run_summary import read_books, summary_json, summary_lines
from cli.session import Session, open_session, unserved
from runner.kept_receipts import receipt_in
from runner.left_orders import what_failed
from state.guards import READY, GuardProcess, Guards
from state.instances import Phase, Record
from state.refusals import read_refusals


@click.command(epilog=EPILOG)
@names_argument(required=False)
@json_option
@debug_option
def status(names: tuple[str, ...], as_json: bool, debug: bool) -> ExitCode:
    """Show instances in detail: where they stand, and the proof of the last stop. Changes nothing, ever.

    Without a name: all of them in one table.

    \b
    Examples:
      manage.py status bp_sol_01
      manage.py status --json
    """
    output = output_for(as_json)
    session = open_session()
    found = entries(session, require_known(session, names))
    missing = unserved(session)
    if as_json:
        output.data(
            {
                "exit_code": 0,
                "unserved_queues": list(missing),
                "refused_messages": read_refusals(session.client),
                "instances": [_as_json(session, entry) for entry in found],
            }
        )
    elif names:
        for entry in found:
            _show(output, session, entry)
    else:
        show_table(output, found, missing)
        refused = sum(read_refusals(session.client).values())
        if refused:
            output.warn(
                f"workers refused {refused} messages that are none of ours; manage.py doctor tells why"
            )
    tell_lost_runs(output, session, found)
    return ExitCode.DONE


def _as_json(session: Session, entry: Entry) -> dict[str, Any]:
    books = read_books(session, entry.record) if entry.record else None
    return entry.as_json() | {
        "run": summary_json(books) if books else None,
        "guards": [guard.name for guard in _guards(session, entry)],
    }


def _guards(session: Session, entry: Entry) -> tuple[GuardProcess, ...]:
    """Return the guards that watch the account of a run and can act on it."""
    if entry.record is None or entry.record.phase is Phase.STOPPED:
        return ()
    found = Guards(session.client).processes(now_ms=session.instances.now_ms())
    return tuple(guard for guard in found if guard.accounts.get(entry.record.account) == READY)


def _show(output: Output, session: Session, entry: Entry) -> None:
    output.line(f"{entry.instance_id}: {entry.shown_state}", STATE_STYLES.get(entry.shown_state, "name"))
    for name, text, style in _lines(entry):
        output.line(f"  {name:<22}{text}", style)
    if entry.record is not None and entry.record.phase is not Phase.STOPPED:
        names = (f"{each.name}, acts after {each.after_s:g} s" for each in _guards(session, entry))
        output.line(f"  {'guard':<22}{'; '.join(names) or 'none'}")
    books = read_books(session, entry.record) if entry.record else None
    for name, text, style in summary_lines(books) if books else ():
        output.line(f"  {name:<22}{text}", style)
    receipt = receipt_in(entry.record.outcome) if entry.record else None
    if receipt is not None:
        word = "clean" if receipt.is_clean else f"NOT clean ({receipt.result})"
        output.line(f"  last stop: run {receipt.epoch}, {word}", "good" if receipt.is_clean else "bad")
        for name, text, style in proof_lines(receipt):
            output.line(f"    {name:<22}{text}", style)


def _lines(entry: Entry) -> Iterator[tuple[str, str, str]]:
    if entry.symbol:
        mode = "live: real orders" if entry.live else "simulated exchange"
        yield "strategy", f"{entry.strategy} on {entry.symbol} ({entry.market_type})", ""
        yield "exchange", f"{entry.exchange}, {mode}", ""
    if entry.damage:
        yield "record", entry.damage, "bad"
    elif entry.problem:
        yield "config", f"{entry.config}: {entry.problem}", "warn"
    else:
        yield "config", entry.config, ""
    if entry.record is not None:
        yield from _record_lines(entry, entry.record)


def _record_lines(entry: Entry, record: Record) -> Iterator[tuple[str, str, str]]:
    yield "run", f"{record.epoch}, started {iso(record.started_at_ms)}", ""
    yield "iterations", f"{record.seq}, last commit {iso(committed_at_ms(record)) or 'none'}", ""
    if record.is_paused:
        reason = f": {record.pause_reason}" if record.pause_reason else ""
        yield "paused", f"{iso(record.paused_at_ms)} by {record.paused_by}{reason}", "warn"
        withdrawn = f"none left since {iso(record.withdrawn_at_ms)}" if record.withdrawn_at_ms else ""
        yield "own orders", withdrawn or "being withdrawn", "" if withdrawn else "warn"
    if record.phase is Phase.RUNNING:
        yield "next iteration", next_iteration(entry), ""
    if record.errors or record.last_error:
        style = "bad" if record.errors else "dim"
        yield "errors in a row", str(record.errors), style
        yield "last error", record.last_error, style
    if record.stop_requested_at_ms is not None:
        reason = f": {record.stop_reason}" if record.stop_reason else ""
        yield "stop requested", f"{iso(record.stop_requested_at_ms)} by {record.stop_by}{reason}", ""
    if record.phase in (Phase.STOPPING, Phase.FAILED):
        yield "not clean", what_failed(record), "bad"
        yield "cleanup attempts", str(record.attempts), "warn"
        name = entry.instance_id
        yield (
            "what to do",
            f"manage.py stop {name} follows it, manage.py receipt {name} has its story",
            "warn",
        )
    if record.stopped_at_ms is not None and record.phase is Phase.STOPPED:
        yield "stopped", str(iso(record.stopped_at_ms)), ""

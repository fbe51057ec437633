"""`manage.py status`: instances in detail, with the proof of their last stop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from cli.exit_codes import EPILOG, ExitCode
from cli.inventory import Entry, committed_at_ms, entries
from cli.language import padded, tr
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
from state.record import Phase, Record
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
                tr(
                    "workers refused {count} messages that are none of ours; manage.py doctor tells why",
                    count=refused,
                )
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
    output.line(f"{entry.instance_id}: {tr(entry.shown_state)}", STATE_STYLES.get(entry.shown_state, "name"))
    for name, text, style in _lines(entry):
        output.line(f"  {padded(name, 22)}{text}", style)
    if entry.record is not None and entry.record.phase is not Phase.STOPPED:
        names = (
            tr("{name}, acts after {time} s", name=each.name, time=f"{each.after_s:g}")
            for each in _guards(session, entry)
        )
        output.line(f"  {padded(tr('guard'), 22)}{'; '.join(names) or tr('none')}")
    books = read_books(session, entry.record) if entry.record else None
    for name, text, style in summary_lines(books) if books else ():
        output.line(f"  {padded(name, 22)}{text}", style)
    receipt = receipt_in(entry.record.outcome) if entry.record else None
    if receipt is not None:
        word = tr("clean") if receipt.is_clean else tr("NOT clean ({result})", result=tr(receipt.result))
        text = tr("last stop: run {epoch}, {how}", epoch=receipt.epoch, how=word)
        output.line(f"  {text}", "good" if receipt.is_clean else "bad")
        for name, text, style in proof_lines(receipt):
            output.line(f"    {padded(name, 22)}{text}", style)


def _lines(entry: Entry) -> Iterator[tuple[str, str, str]]:
    if entry.symbol:
        mode = tr("live: real orders") if entry.live else tr("simulated exchange")
        what = tr(
            "{strategy} on {symbol} ({market})",
            strategy=entry.strategy,
            symbol=entry.symbol,
            market=tr(entry.market_type),
        )
        yield tr("strategy"), what, ""
        yield tr("exchange"), f"{entry.exchange}, {mode}", ""
    if entry.damage:
        yield tr("record"), entry.damage, "bad"
    elif entry.problem:
        yield tr("config"), f"{tr(entry.config)}: {tr(entry.problem)}", "warn"
    else:
        yield tr("config"), tr(entry.config), ""
    if entry.record is not None:
        yield from _record_lines(entry, entry.record)


def _record_lines(entry: Entry, record: Record) -> Iterator[tuple[str, str, str]]:
    yield tr("run"), tr("{epoch}, started {at}", epoch=record.epoch, at=iso(record.started_at_ms)), ""
    last = iso(committed_at_ms(record)) or tr("none")
    yield tr("iterations"), tr("{count}, last commit {at}", count=record.seq, at=last), ""
    if record.is_paused:
        reason = f": {record.pause_reason}" if record.pause_reason else ""
        at, by = iso(record.paused_at_ms), record.paused_by
        yield tr("paused"), tr("{at} by {by}{reason}", at=at, by=by, reason=reason), "warn"
        gone_at = iso(record.withdrawn_at_ms) if record.withdrawn_at_ms else None
        orders = tr("none left since {at}", at=gone_at) if gone_at else tr("being withdrawn")
        yield tr("own orders"), orders, "" if gone_at else "warn"
    if record.phase is Phase.RUNNING:
        yield tr("next iteration"), next_iteration(entry), ""
    if record.errors or record.last_error:
        style = "bad" if record.errors else "dim"
        yield tr("errors in a row"), str(record.errors), style
        yield tr("last error"), record.last_error, style
    if record.stop_requested_at_ms is not None:
        reason = f": {record.stop_reason}" if record.stop_reason else ""
        at, by = iso(record.stop_requested_at_ms), record.stop_by
        yield tr("stop requested"), tr("{at} by {by}{reason}", at=at, by=by, reason=reason), ""
    if record.phase in (Phase.STOPPING, Phase.FAILED):
        yield tr("not clean"), what_failed(record), "bad"
        yield tr("cleanup attempts"), str(record.attempts), "warn"
        name = entry.instance_id
        yield (
            tr("what to do"),
            tr("manage.py stop {name} follows it, manage.py receipt {name} has its story", name=name),
            "warn",
        )
    if record.stopped_at_ms is not None and record.phase is Phase.STOPPED:
        yield tr("stopped"), str(iso(record.stopped_at_ms)), ""

"""`manage.py events`: what happened to an instance, and with ``--follow`` what happens."""

from __future__ import annotations

import json
from typing import Any

import click

from cli.event_stream import EventStream
from cli.exit_codes import LEDGER_EPILOG, ExitCode
from cli.language import padded, tr
from cli.ledger_access import LedgerSession, open_books, require_instances
from cli.ledger_options import (
    csv_option,
    instance_argument,
    limit_option,
    one_line,
    refuse_both,
    say_cut,
    tell_rows,
)
from cli.options import debug_option, json_option, output_for
from cli.output import Output, iso
from cli.receipt_view import detail_words
from ledger import queries
from ledger.queries import EventRecord
from runner.kept_receipts import receipt_in
from runner.stop_progress import STEPS
from state.events import FOR_PROGRAMS

COLUMNS = ("AT", "RUN", "EVENT", "WHAT")
FIELDS = ("at", "instance_id", "epoch", "event", "stream_id", "fields")
#: What can happen, as the stream of events names it.
NAMES = (
    *("started", "limits", "stop_requested", "cleanup_claimed", "cleanup_step", "finished", "alert"),
    *("paused", "withdrawn", "resumed", "config_changed", "guard_watching", "guard_acted", "guard_verified"),
    "audit",
)
#: Widths of a line while following, where what comes is not known.
FOLLOW_WIDTHS = (24, 4, 16)
EVENT_STYLES = {"started": "good", "stop_requested": "warn", "limits": "warn"}


@click.command(epilog=LEDGER_EPILOG)
@instance_argument
@limit_option
@click.option("--follow", is_flag=True, help="Go on with what happens from now on, until Ctrl-C.")
@csv_option
@json_option
@debug_option
def events(name: str, limit: int, follow: bool, as_csv: bool, as_json: bool, debug: bool) -> int:
    """Show what happened to an instance, oldest first: starts, stops, steps of cleanups, limits that cut.

    With --follow, --json prints one object per line.

    \b
    Examples:
      manage.py events bp_sol_01
      manage.py events bp_sol_01 --follow
      manage.py events bp_sol_01 --follow --json | jq .event
      manage.py events bp_sol_01 --limit 1000 --csv > events.csv
    """
    refuse_both(as_json=as_json, as_csv=as_csv)
    if follow and as_csv:
        raise click.UsageError(tr("--follow and --csv exclude each other"))
    output = output_for(as_json)
    with open_books(output, debug=debug) as books:
        (name,) = require_instances(books, [name])
        if follow:
            return _follow(output, books, name, limit)
        found = queries.events(books.ledger, name, limit=limit + 1)
        code = tell_rows(
            output,
            books,
            what="events",
            rows=[_fields(event) for event in found[-limit:]],
            columns=FIELDS,
            as_csv=as_csv,
            more={"has_more": len(found) > limit},
            show=lambda: output.table(COLUMNS, [_row(event) for event in found[-limit:]]),
        )
    say_cut(output, "events", limit=limit, is_cut=len(found) > limit)
    return code


def _follow(output: Output, books: LedgerSession, name: str, limit: int) -> ExitCode:
    stream = EventStream(books, name)
    try:
        for event in stream.old(limit):
            _tell(output, event)
        for event in stream.new(warn=output.warn):
            _tell(output, event)
    except KeyboardInterrupt:
        # The way to end it.
        return ExitCode.DONE
    return ExitCode.DONE


def _tell(output: Output, event: EventRecord) -> None:
    if output.as_json:
        click.echo(json.dumps(_fields(event), ensure_ascii=False))
        return
    *columns, last = _row(event)
    cells = [padded(text, width) for text, width in zip(columns, FOLLOW_WIDTHS, strict=True)]
    output.line("  ".join([*cells, last]).rstrip(), EVENT_STYLES.get(event.event, ""))


def _row(event: EventRecord) -> list[str]:
    return [str(iso(event.at_ms)), str(event.epoch or "-"), tr(event.event), _what(event)]


def _what(event: EventRecord) -> str:
    said = event.fields
    if event.event == "finished":
        receipt = receipt_in(said.get("outcome", ""))
        found = f": {tr(str(receipt.result))}" if receipt else ""
        return one_line(f"{tr(said.get('result', ''))}{found}", 200)
    if event.event == "cleanup_step":
        step = said.get("step", "")
        return one_line(
            " ".join(filter(None, (tr(STEPS.get(step, step)), detail_words(said.get("detail", ""))))), 200
        )
    told = sorted((name, text) for name, text in said.items() if text and name not in FOR_PROGRAMS)
    return one_line(", ".join(f"{name} {text}" for name, text in told), 200)


def _fields(event: EventRecord) -> dict[str, Any]:
    return {
        "at": iso(event.at_ms),
        "instance_id": event.instance_id,
        "epoch": event.epoch,
        "event": event.event,
        "stream_id": event.stream_id,
        "fields": dict(event.fields),
    }

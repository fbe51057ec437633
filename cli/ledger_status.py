"""`manage.py ledger`: where the ledger is and how it does; prunes it when asked to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import click
import redis

from cli.amounts import print_table
from cli.errors import CliError
from cli.exit_codes import LEDGER_EPILOG, ExitCode
from cli.language import padded, tr
from cli.ledger_access import LedgerSession, now_ms, open_books
from cli.ledger_options import one_line
from cli.options import debug_option, json_option, output_for
from cli.output import Output, iso
from cli.session import open_session
from ledger import glances, queries
from ledger.errors import LedgerUnavailable
from ledger.retention import prune as prune_ledger
from state.bookings import BookingQueue

DAY_MS = 86_400_000
#: Rejected bookings that are shown.
REJECTED_SHOWN = 10
#: Whose rows say nothing to people.
COLUMNS = ("TABLE", "ROWS")
REJECTED_COLUMNS = ("KIND", "ACCOUNT", "INSTANCE", "REASON")
INTERNAL = ("ledger_meta", "pruned_until", "folded_days")


@click.command("ledger", epilog=LEDGER_EPILOG)
@click.option("--rejected", is_flag=True, help="Show the newest bookings that could not be booked, and why.")
@click.option("--prune", is_flag=True, help="Fold and delete what is older than the settings say, now.")
@json_option
@debug_option
def ledger(rejected: bool, prune: bool, as_json: bool, debug: bool) -> ExitCode:
    """Show the ledger: its database, what is in it, what waits for it, what it refused.

    --prune folds fills and fundings older than CLEANBOOK_LEDGER_KEEP_DAYS into sums per run
    and day, so that profit stays as it is, and deletes ended orders as old as that; events
    and snapshots go after CLEANBOOK_LEDGER_KEEP_EVENTS_DAYS. Export first what you want to keep.

    \b
    Examples:
      manage.py ledger
      manage.py ledger --rejected
      manage.py ledger --prune
      manage.py ledger --json
    """
    output = output_for(as_json)
    try:
        with open_books(output, debug=debug) as books:
            pruned = _prune(books) if prune else None
            report = _report(books) | {"pruned": pruned}
            if output.as_json:
                output.data(report)
            else:
                _show(output, report, with_rejected=rejected)
    except LedgerUnavailable:
        _say_waiting(output)
        raise
    return ExitCode.DONE


def _prune(books: LedgerSession) -> dict[str, int]:
    if not books.up_to_date:
        raise CliError(
            tr(
                "nothing was pruned: the state server does not answer, and old fills that wait there "
                "could not be booked any more; try again when it is back"
            ),
            ExitCode.UNREACHABLE,
        )
    settings, at_ms = books.session.settings, now_ms(books)
    result = prune_ledger(
        books.ledger,
        before_ms=at_ms - settings.ledger_keep_days * DAY_MS,
        details_before_ms=at_ms - settings.ledger_keep_events_days * DAY_MS,
    )
    return asdict(result)


def _report(books: LedgerSession) -> dict[str, Any]:
    settings, counts = books.session.settings, queries.counts(books.ledger)
    return {
        "exit_code": 0,
        "up_to_date": books.up_to_date,
        "database": books.ledger.shown_url,
        "ledger_id": books.ledger.ledger_id,
        "carried_over": books.carried_over,
        "waiting": _waiting(books.session.client) if books.up_to_date else None,
        "newest": {name: iso(at_ms) for name, at_ms in glances.newest_ms(books.ledger).items()},
        "rows": counts,
        "rejected": [
            {**asdict(one), "booking": json.loads(one.booking)}
            for one in glances.rejected(books.ledger, REJECTED_SHOWN)
        ],
        "retention": {
            "keep_days": settings.ledger_keep_days,
            "keep_events_days": settings.ledger_keep_events_days,
        },
    }


def _waiting(client: redis.Redis) -> int | None:
    try:
        return BookingQueue(client).length()
    except (redis.ConnectionError, redis.TimeoutError):
        return None


def _say_waiting(output: Output) -> None:
    with open_session().client as client:
        waiting = _waiting(client)
    if waiting is not None:
        output.say(tr("{count} bookings wait in the state server", count=waiting))


def _show(output: Output, report: dict[str, Any], *, with_rejected: bool) -> None:
    for name, text, style in _lines(report):
        output.line(f"{padded(name, 22)}{text}", style)
    rows = [[tr(name), str(n)] for name, n in report["rows"].items() if name not in INTERNAL]
    output.line()
    print_table(output, COLUMNS, rows, ("ROWS",))
    if with_rejected:
        _show_rejected(output, report["rejected"])


def _lines(report: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    yield tr("database"), report["database"], ""
    yield tr("ledger"), report["ledger_id"], ""
    if report["up_to_date"]:
        carried = tr("{count} bookings and events that waited", count=report["carried_over"])
        yield tr("carried over now"), carried, ""
    waiting = report["waiting"]
    yield tr("waiting"), tr("not known") if waiting is None else str(waiting), "warn" if waiting else ""
    for name, at in report["newest"].items():
        yield tr("newest {what}", what=tr(name)), at or tr("none"), ""
    count = report["rows"]["rejected"]
    refused = tr("{count}; --rejected shows why", count=count) if count else "0"
    yield tr("rejected"), refused, "bad" if count else ""
    kept = report["retention"]
    days = tr(
        "fills and orders {days} d, events {event_days} d",
        days=kept["keep_days"],
        event_days=kept["keep_events_days"],
    )
    yield tr("kept"), days, ""
    if report["pruned"] is not None:
        pruned = ", ".join(f"{count} {tr(name)}" for name, count in report["pruned"].items())
        yield tr("pruned now"), pruned, "good"


def _show_rejected(output: Output, rejected: list[dict[str, Any]]) -> None:
    output.line()
    if not rejected:
        output.say(tr("nothing was rejected"))
        return
    rows = [
        [
            one["kind"],
            one_line(one["account"], 40),
            one_line(one["instance_id"], 40) or "-",
            one_line(one["reason"], 100),
        ]
        for one in rejected
    ]
    output.table(REJECTED_COLUMNS, rows)

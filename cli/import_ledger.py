"""`manage.py import-ledger`: take over what an old program has recorded."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import click

from cli.exit_codes import LEDGER_EPILOG, ExitCode
from cli.language import padded, tr
from cli.ledger_access import LedgerSession, is_known, open_books
from cli.names import complete_instance
from cli.options import debug_option, json_option, output_for
from cli.output import Output
from ledger.importing import Assets, ImportReport, import_old
from runner.config_models import INSTANCE_ID_PATTERN

_OFFSET = re.compile(r"([+-]?)(\d{1,2})(?::?([0-5]\d))?")
_LARGEST_OFFSET = timedelta(hours=14)
_TRADES = re.compile(r"([^=\s]+)=([^/=\s]+)/([^/=\s]+?)(/perp)?")


@click.command("import-ledger", epilog=LEDGER_EPILOG)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE")
@click.option(
    "--instance",
    required=True,
    metavar="NAME",
    shell_complete=complete_instance,
    help="Whose fills these are.",
)
@click.option(
    "--account", default="imported", show_default=True, metavar="NAME", help="The account they belong to."
)
@click.option(
    "--utc-offset",
    callback=lambda _, __, text: utc_offset(text),
    default="+0",
    show_default=True,
    metavar="HOURS",
    help="Of the file's clock: +8, -5, +05:30. The old program itself wrote UTC.",
)
@click.option(
    "--trades",
    "symbols",
    multiple=True,
    callback=lambda _, __, texts: dict(traded(text) for text in texts),
    metavar="SYMBOL=BASE/QUOTE[/perp]",
    help="What a symbol trades that is not written BASE_QUOTE or BASE_QUOTE_PERP.",
)
@click.option("--drop-repeated", is_flag=True, help="Book fills once that differ in their time only.")
@click.option("--dry-run", is_flag=True, help="Say what would come of it, and change nothing.")
@json_option
@debug_option
def import_ledger(
    file: Path,
    instance: str,
    account: str,
    utc_offset: timedelta,
    symbols: dict[str, Assets],
    drop_repeated: bool,
    dry_run: bool,
    as_json: bool,
    debug: bool,
) -> ExitCode:
    """Import the database (SQLite) of the old program: its fills, and its daily figures as they are.

    All of FILE is imported or nothing, and a second time without effect. FILE is only read.
    Fills that the exchange's history still lists are fetched by a feed, too, under the account
    of the keys: keep the default account, or they count twice.

    \b
    Examples:
      manage.py import-ledger orders.db --instance bp_sol_01 --dry-run
      manage.py import-ledger orders.db --instance bp_sol_01
      manage.py import-ledger old.db --instance bp_sol_01 --utc-offset +8 --trades SOLUSDC=SOL/USDC
    """
    output = output_for(as_json)
    if not re.fullmatch(INSTANCE_ID_PATTERN, instance):
        raise click.BadParameter(
            tr(
                "{name} is no name of an instance: up to 64 of A-Z a-z 0-9 _ -, a letter or digit first",
                name=repr(instance),
            )
        )
    with open_books(output, debug=debug) as books:
        if not is_known(books, instance):
            output.warn(
                tr("there is no instance {name} yet; these will be its first fills", name=repr(instance))
            )
        report = import_old(
            books.ledger,
            file,
            account=account,
            instance_id=instance,
            utc_offset=utc_offset,
            drop_repeated=drop_repeated,
            assets=symbols,
            dry_run=dry_run,
        )
        _tell(output, books, report, file=file, dry_run=dry_run, drop_repeated=drop_repeated)
    return ExitCode.DONE


def utc_offset(text: str) -> timedelta:
    """Return the offset of a clock that `text` names, such as ``+8`` or ``-03:30``.

    Raises `click.BadParameter` for anything else.
    """
    parts = _OFFSET.fullmatch(text.strip())
    offset = timedelta(hours=int(parts[2]), minutes=int(parts[3] or 0)) if parts else None
    if parts is None or offset is None or offset > _LARGEST_OFFSET:
        raise click.BadParameter(
            tr("{text} is no offset of a clock; write +8, -5 or +05:30", text=repr(text))
        )
    return -offset if parts[1] == "-" else offset


def traded(text: str) -> tuple[str, Assets]:
    """Return a symbol and what it trades. Raises `click.BadParameter`."""
    parts = _TRADES.fullmatch(text)
    if parts is None:
        raise click.BadParameter(
            tr("{text}; write SOLUSDC=SOL/USDC, for a perpetual SOLUSDC=SOL/USDC/perp", text=repr(text))
        )
    return parts[1], Assets(base=parts[2], quote=parts[3], is_perpetual=parts[4] is not None)


def _tell(
    output: Output,
    books: LedgerSession,
    report: ImportReport,
    *,
    file: Path,
    dry_run: bool,
    drop_repeated: bool,
) -> None:
    if output.as_json:
        head = {"exit_code": 0, "up_to_date": books.up_to_date, "file": str(file), "dry_run": dry_run}
        output.data({**head, **asdict(report)})
        return
    for name, count, why in _lines(report, drop_repeated=drop_repeated):
        output.line(f"{padded(name, 22)}{count:>8}  {why}".rstrip())
    if dry_run:
        output.say(tr("dry run: nothing was imported"), "warn")


def _lines(report: ImportReport, *, drop_repeated: bool) -> Iterator[tuple[str, int, str]]:
    yield tr("fills imported"), report.fills, ""
    yield tr("already there"), report.known, tr("imported before")
    yield tr("duplicates collapsed"), report.duplicates, tr("the row says exactly what another one says")
    done = tr("left out") if drop_repeated else tr("imported; --drop-repeated leaves them out")
    yield tr("repeated"), report.repeated, tr("differs from another row in its time only: {done}", done=done)
    folded = tr("the ledger has folded that time into sums (manage.py ledger)")
    yield tr("skipped as too old"), report.ignored, folded
    yield tr("without a time"), report.untimed, tr("imported with the time of the row before")
    yield tr("days of statistics"), report.stats, tr("kept as they are; profit does not use them")

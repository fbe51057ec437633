"""`manage.py pnl`: what instances have gained or lost, from their fills and fundings alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from cli.amounts import as_told, money, percent, print_table, sign_style
from cli.exit_codes import LEDGER_EPILOG, ExitCode
from cli.language import tr
from cli.ledger_access import LedgerSession, now_ms, open_books, require_instances
from cli.ledger_options import csv_option, refuse_both, tell_rows
from cli.names import complete_instance
from cli.options import debug_option, json_option, output_for
from cli.output import Cell, Output, iso, seconds
from cli.pnl_lines import FIELDS, Line, csv_fields, line_fields, lines, position_fields, total_lines
from cli.when import since_option
from ledger.folding import day_of
from ledger.profit import Grouping, ProfitRow, profit
from runner.marks import Mark, Market, Source, marks_of, valued
from state.market_data import MarketData
from state.scripts import Scripts

FIGURES = (
    *("REALISED", "UNREALISED", "FEES", "FUNDING", "TOTAL", "IN", "VOLUME", "MAKER %", "WEAR BPS", "FILLS"),
)
NUMBERS = (*FIGURES, "RUN")
HEADS = {
    Grouping.INSTANCE: ("INSTANCE", "SYMBOL"),
    Grouping.RUN: ("INSTANCE", "RUN", "STARTED", "SYMBOL"),
    Grouping.DAY: ("DAY", "SYMBOL"),
}
#: What belongs to no instance: a human's orders, or what the exchange did to several holders at once.
NOBODY = "(none)"
SOURCES = {
    Source.BOOK: "the order book",
    Source.SNAPSHOT: "the newest snapshot",
    Source.LAST_FILL: "the last fill",
}


@click.command(epilog=LEDGER_EPILOG)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_instance)
@click.option(
    "--by",
    type=click.Choice([str(grouping) for grouping in Grouping]),
    default=str(Grouping.INSTANCE),
    show_default=True,
    help="What one line is about.",
)
@since_option
@csv_option
@json_option
@debug_option
def pnl(
    names: tuple[str, ...], by: str, since_ms: int | None, as_csv: bool, as_json: bool, debug: bool
) -> ExitCode:
    """Show profit and loss, by default of everything, one line per instance.

    \b
    REALISED    of what was bought and sold again, at average cost, before fees
    UNREALISED  of what is held, if it were closed at the mark, before fees:
                the order book's middle (not older than a minute), else the
                newest snapshot's mark, else the last fill; - without any
    FEES        paid; negative: rebates. In the quote asset; fees in the base
                asset count at the price of their fill, others are listed below
    FUNDING     received on perpetuals; negative: paid
    TOTAL       realised + unrealised + funding - fees
    WEAR BPS    what trading cost: loss per volume in 1/10000; 0 for a gain

    Different quote assets, and different venues, are never added together. Each instance
    has its own average cost, so that several on one market add up to what the account made;
    what belongs to no instance is the line (none). Of runs and days the newest has the
    unrealised profit.

    --since counts whole UTC days (with --by run: whole runs that traded since then), and
    the unrealised profit of what is held now, whenever it was bought.

    \b
    Examples:
      manage.py pnl
      manage.py pnl bp_sol_01 --by day --since 7d
      manage.py pnl bp_sol_01 bp_sol_02 --by run
      manage.py pnl --json
      manage.py pnl --by day --csv > pnl.csv
    """
    refuse_both(as_json=as_json, as_csv=as_csv)
    output, grouping = output_for(as_json), Grouping(by)
    with open_books(output, debug=debug) as books:
        chosen = require_instances(books, names)
        read = _read(books, chosen, grouping, since_ms)
        marks = _marks(books, read)
        rows = valued(read, marks)
        found, sums = lines(rows, grouping), total_lines(rows)
        return tell_rows(
            output,
            books,
            what="lines",
            nothing=tr("no fills yet") if since_ms is None else tr("no fills since then"),
            rows=[(csv_fields if as_csv else line_fields)(line) for line in found],
            columns=FIELDS,
            as_csv=as_csv,
            show=lambda: _show(output, grouping, found, sums, marks),
            more={
                "by": by,
                "since": iso(since_ms),
                "totals": [line_fields(line) for line in sums],
                "positions": position_fields(rows, marks),
            },
        )


def show_all(output: Output, books: LedgerSession) -> None:
    """Print what every instance has made, a line each."""
    read = _read(books, (), Grouping.INSTANCE, None)
    marks = _marks(books, read)
    rows = valued(read, marks)
    _show(output, Grouping.INSTANCE, lines(rows, Grouping.INSTANCE), total_lines(rows), marks)


def _marks(books: LedgerSession, rows: Sequence[ProfitRow]) -> dict[Market, Mark]:
    client = books.session.client
    market_data = MarketData(client, Scripts(client)) if books.up_to_date else None
    return marks_of(books.ledger, market_data, rows, now_ms=now_ms(books))


def _read(
    books: LedgerSession, names: Sequence[str], by: Grouping, since_ms: int | None
) -> tuple[ProfitRow, ...]:
    # Without marks: they are per venue, and which ones are needed is only known now.
    reading = Grouping.DAY if since_ms is not None and by is Grouping.INSTANCE else by
    since_day = day_of(since_ms) if since_ms is not None and reading is Grouping.DAY else ""
    only = names[0] if len(names) == 1 else None
    rows = profit(books.ledger, by=reading, instance_id=only, since_day=since_day)
    chosen = (row for row in rows if not names or row.instance_id in names)
    return tuple(row for row in chosen if since_ms is None or _is_since(row, since_ms))


def _is_since(row: ProfitRow, since_ms: int) -> bool:
    return row.last_ms >= since_ms if row.day is None else row.day >= day_of(since_ms)


def _show(
    output: Output,
    by: Grouping,
    found: Sequence[Line],
    sums: Sequence[Line],
    marks: Mapping[Market, Mark],
) -> None:
    by_venue = len({line.venue for line in found}) > 1
    columns = (*(("VENUE",) if by_venue else ()), *HEADS[by], *FIGURES)
    table: list[list[str | Cell]] = [
        [*_venue(line, by_venue), *_head(line, by), *_figures(line)] for line in found
    ]
    for line in sums:
        total = Cell(text=tr("total"), style="name")
        table.append([*_venue(line, by_venue), total, *([""] * (len(HEADS[by]) - 1)), *_figures(line)])
    print_table(output, columns, table, NUMBERS)
    _show_unconverted(output, sums)
    for (account, symbol), mark in marks.items():
        if mark.source is not Source.BOOK:
            output.say(
                tr(
                    "{symbol} ({venue}) is valued at {price}, from {source}, {age} old",
                    symbol=symbol,
                    venue=account.partition(":")[0],
                    price=as_told(mark.price),
                    source=tr(SOURCES[mark.source]),
                    age=_age(mark.age_ms),
                )
            )


def _show_unconverted(output: Output, sums: Sequence[Line]) -> None:
    for line in sums:
        for asset, amount in sorted(line.figures.unconverted_fees.items()):
            fee = f"{as_told(amount)} {asset} ({line.venue})"
            output.line(tr("fees besides, not in the total: {fee}", fee=fee))


def _venue(line: Line, by_venue: bool) -> list[str | Cell]:
    return [line.venue] if by_venue else []


def _head(line: Line, by: Grouping) -> list[str | Cell]:
    symbols = " ".join(line.symbols)
    if by is Grouping.DAY:
        return [str(line.day), symbols]
    name = Cell(text=line.instance_id or tr(NOBODY), style="name" if line.instance_id else "dim")
    if by is Grouping.RUN:
        return [name, str(line.epoch or "-"), iso(line.started_at_ms or None) or "-", symbols]
    return [name, symbols]


def _figures(line: Line) -> list[str | Cell]:
    figures = line.figures
    return [
        Cell(text=money(figures.realized), style=sign_style(figures.realized)),
        Cell(text=money(figures.unrealized), style=sign_style(figures.unrealized)),
        money(figures.fees),
        Cell(text=money(figures.funding), style=sign_style(figures.funding)),
        Cell(text=money(figures.total), style=sign_style(figures.total)),
        line.quote_asset or "?",
        money(figures.volume),
        percent(line.maker_share),
        "-" if figures.wear_bps is None else f"{figures.wear_bps:.2f}",
        str(figures.fills),
    ]


def _age(age_ms: int) -> str:
    if age_ms < 120_000:
        return seconds(age_ms)
    hours = age_ms / 3_600_000
    return (
        f"{age_ms // 60_000} min" if hours < 2 else f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} d"
    )

"""`manage.py top`: all instances on one screen, live."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass, field

import click
import redis

from cli.amounts import print_table
from cli.exit_codes import EPILOG, ExitCode
from cli.language import tr
from cli.options import Seconds, debug_option, json_option, output_for
from cli.output import Cell, Output
from cli.session import open_session
from cli.top_reading import TopReader, TopReading, sorted_rows

#: How long a key is waited for: keys are answered at once, and a new reading is shown this soon.
LOOK_S = 0.2


@click.command(epilog=EPILOG)
@click.option(
    "--interval",
    "interval_s",
    type=Seconds(),
    default=2.0,
    show_default=True,
    metavar="S",
    help="Read again after this many seconds.",
)
@click.option("--once", is_flag=True, help="Print one table and end, as where there is no terminal.")
@json_option
@debug_option
def top(interval_s: float, once: bool, as_json: bool, debug: bool) -> ExitCode:
    """Show all instances live: state, profit of the day, position, open orders, next iteration, last error.

    Keys: s sorts by something else, / filters, arrows and page keys move, q ends it. TODAY is the profit of
    the UTC day after fees, with what is open at the price of the last iteration, as far as the instance
    counted it; `pnl` tells what the ledger knows. Changes nothing.

    \b
    Examples:
      manage.py top
      manage.py top --interval 1
      manage.py top --json | jq .profit_today
    """
    output = output_for(as_json)
    reader = TopReader(session=open_session())
    reading = reader.read()
    if as_json:
        output.data({"exit_code": 0, **reading.as_json()})
    elif once or not (sys.stdin.isatty() and sys.stdout.isatty()):
        _print(output, reading)
    else:
        _watch(output, reader, reading, interval_s)
    return ExitCode.DONE


def _print(output: Output, reading: TopReading) -> None:
    from cli.top_view import COLUMNS, RIGHT, cells, totals, unserved_text

    styles = {"running": "good", "paused": "warn", "stopping": "warn", "failed": "bad", "damaged": "bad"}
    table: list[list[str | Cell]] = []
    for row in sorted_rows(reading.rows, "trouble"):
        name, state, *others = cells(row)
        painted = Cell(text=state, style=styles.get(row.state, "dim"))
        table.append([Cell(text=name, style="name"), painted, *others])
    if table:
        print_table(output, COLUMNS, table, RIGHT)
    output.line(totals(reading))
    if reading.unserved:
        output.warn(unserved_text(reading))


@dataclass(kw_only=True)
class _Background:
    """Reads beside the screen: a server that is slow or away must not hold up the keys."""

    reader: TopReader
    interval_s: float
    reading: TopReading
    #: Why the newest reading is old, empty when it is not.
    problem: str = ""
    ended: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Read until the end."""
        while not self.ended.wait(self.interval_s):
            try:
                self.reading, self.problem = self.reader.read(), ""
            except redis.RedisError as error:
                self.problem = tr("the state server does not answer, trying on: {error}", error=error)


def _watch(output: Output, reader: TopReader, first: TopReading, interval_s: float) -> None:
    from rich.console import Console
    from rich.live import Live

    from cli.keyboard import next_keys, single_keys
    from cli.top_view import View, rows_that_fit, screen

    console = Console(no_color=bool(output.no_color), highlight=False, file=sys.stdout)
    background = _Background(reader=reader, interval_s=interval_s, reading=first)
    thread = threading.Thread(target=background.run, name="top", daemon=True)
    thread.start()
    view, shown = View(), None
    try:
        with single_keys() as terminal, Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                height = console.size.height
                state = (background.reading, background.problem, view, console.size)
                if state != shown:
                    live.update(
                        screen(background.reading, view, height=height, problem=background.problem),
                        refresh=True,
                    )
                    shown = state
                for key in next_keys(terminal, LOOK_S):
                    if key == "interrupt" or (key == "q" and not view.is_typing):
                        return
                    view = view.pressed(key, page=rows_that_fit(height)).within(background.reading, height)
    except KeyboardInterrupt:
        # The other way to end it.
        return
    finally:
        background.ended.set()

"""How `manage.py top` looks: a table that fills the screen, with what it is sorted and filtered by."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.amounts import as_told, money
from cli.language import tr
from cli.output import clock, printable, seconds
from cli.top_reading import ORDERS, TopReading, TopRow, sorted_rows

COLUMNS = ("INSTANCE", "STATE", "STRATEGY", "SYMBOL", "TODAY", "POSITION", "ORDERS", "NEXT", "LAST ERROR")
RIGHT = ("TODAY", "POSITION", "ORDERS", "NEXT")
STATE_STYLES = {
    "running": "green",
    "paused": "yellow",
    "stopping": "yellow",
    "failed": "bold red",
    "damaged": "bold red",
}
#: Lines besides those of instances: totals, keys, titles, what is below.
OTHER_LINES = 4
#: An iteration that is later than this is worth a colour.
LATE_MS = 1000


@dataclass(frozen=True, kw_only=True)
class View:
    """What the user has chosen."""

    order: str = ORDERS[0]
    #: Instances whose name, symbol, strategy or state holds this.
    search: str = ""
    is_typing: bool = False
    #: Of the first row shown.
    offset: int = 0

    def pressed(self, key: str, *, page: int) -> View:
        """Return the view after a key; `page` is how many rows fit."""
        if self.is_typing:
            return self._typed(key)
        if key == "s":
            return replace(self, order=ORDERS[(ORDERS.index(self.order) + 1) % len(ORDERS)], offset=0)
        if key == "/":
            return replace(self, is_typing=True)
        if key == "escape":
            return replace(self, search="", offset=0)
        moves = {"up": -1, "k": -1, "down": 1, "j": 1, "page up": -page, "page down": page, " ": page}
        if key in moves:
            return replace(self, offset=max(0, self.offset + moves[key]))
        return replace(self, offset=0) if key == "home" else self

    def within(self, reading: TopReading, height: int) -> View:
        """Return the view without an offset behind the end."""
        last = max(0, len(self.chosen(reading.rows)) - rows_that_fit(height))
        return replace(self, offset=min(self.offset, last))

    def _typed(self, key: str) -> View:
        if key in ("enter", "escape"):
            return replace(self, is_typing=False, search="" if key == "escape" else self.search)
        if key == "backspace":
            return replace(self, search=self.search[:-1], offset=0)
        return replace(self, search=self.search + key, offset=0) if len(key) == 1 else self

    def chosen(self, rows: tuple[TopRow, ...]) -> list[TopRow]:
        """Return the rows that it is about, in its order."""
        wanted = self.search.lower()
        found = [
            row
            for row in rows
            if wanted in " ".join((row.instance_id, row.symbol, row.strategy, row.state)).lower()
        ]
        return sorted_rows(found, self.order)


def cells(row: TopRow) -> list[str]:
    """Return the texts of a row."""
    return [
        row.instance_id,
        tr(row.state),
        row.strategy or "-",
        row.symbol or "-",
        money(row.profit_today),
        as_told(row.position),
        str(row.open_orders),
        next_text(row),
        " ".join(row.last_error.split()),
    ]


def next_text(row: TopRow) -> str:
    """Return in words when the next iteration runs."""
    if row.is_iterating:
        return tr("now")
    if row.due_in_ms is None:
        return "-"
    late = row.due_in_ms < 0
    return tr("late {time}", time=seconds(row.late_ms)) if late else seconds(row.due_in_ms)


def totals(reading: TopReading) -> str:
    """Return how many instances stand how, and what they made."""
    states = ", ".join(f"{count} {tr(state)}" for state, count in sorted(reading.states.items()))
    made = "  ".join(f"{money(amount)} {asset}".rstrip() for asset, amount in sorted(reading.profits.items()))
    return tr(
        "{count} instances: {states}   today: {made}",
        count=len(reading.rows),
        states=states or "-",
        made=made or "-",
    )


def screen(reading: TopReading, view: View, *, height: int, problem: str = "") -> RenderableType:
    """Return what fills the screen."""
    found = view.chosen(reading.rows)
    page = rows_that_fit(height)
    offset = min(view.offset, max(0, len(found) - page))
    shown = found[offset : offset + page]
    told = printable(f"{clock(reading.now_ms)[:8]} UTC   {totals(reading)}")
    head = Text(told, no_wrap=True, overflow="ellipsis")
    table = Table(box=None, expand=True, pad_edge=False, header_style="dim")
    for title in COLUMNS:
        table.add_column(
            tr(title),
            justify="right" if title in RIGHT else "left",
            no_wrap=True,
            overflow="ellipsis",
            ratio=1 if title == "LAST ERROR" else None,
        )
    for row in shown:
        table.add_row(*_painted(row))
    below = len(found) - offset - len(shown)
    last = tr("{above} above, {below} below", above=offset, below=below) if offset or below else ""
    return Group(head, _second_line(reading, view, problem), table, Text(last, style="dim"))


def unserved_text(reading: TopReading) -> str:
    """Return that nobody serves some queues."""
    return tr("no worker serves queue {queues}", queues=tr(" and ").join(reading.unserved))


def rows_that_fit(height: int) -> int:
    """Return how many instances fit on a screen."""
    return max(1, height - OTHER_LINES)


def _second_line(reading: TopReading, view: View, problem: str) -> Text:
    if problem:
        return Text(printable(problem), style="bold red", no_wrap=True, overflow="ellipsis")
    if view.is_typing:
        return Text(tr("filter: {text}   (Enter: done, Esc: none)", text=f"{view.search}_"), style="yellow")
    chosen = "   " + tr("filter: {text}", text=view.search) if view.search else ""
    order = tr("sorted by {order}", order=tr(view.order))
    keys = Text(f"{order}{chosen}   {tr('s sort  / filter  arrows move  q quit')}", style="dim")
    if not reading.unserved:
        return keys
    warning = Text(f"{unserved_text(reading)}   ", style="bold yellow")
    return warning.append_text(keys)


def _painted(row: TopRow) -> list[Text]:
    texts = [Text(printable(text)) for text in cells(row)]
    texts[0].stylize("bold")
    texts[1].stylize(STATE_STYLES.get(row.state, "dim"))
    if row.profit_today:
        texts[4].stylize("green" if row.profit_today > 0 else "red")
    if row.late_ms > LATE_MS:
        texts[7].stylize("yellow")
    texts[8].stylize("red")
    return texts

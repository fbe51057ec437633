"""What a run has traded and made by now, from its own books. Reads only."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from cli.language import tr
from cli.session import Session
from market.snapshot import LevelTotals
from runner.books import Books
from runner.loaded import StateUnreadable, parse_books
from state.record import Record


def read_books(session: Session, record: Record) -> Books | None:
    """Return the books of the current or last run, None when there are none that this version can read."""
    text = session.instances.run_data(record.instance_id, record.slot).books_json
    try:
        return parse_books(text) if text else None
    except StateUnreadable:
        return None


def summary_lines(books: Books) -> Iterator[tuple[str, str, str]]:
    """Yield name, text and style of what people want to know."""
    bought, sold = _traded(books)
    profit = books.profit
    traded = tr("bought {bought}, sold {sold}", bought=_plain(bought), sold=_plain(sold))
    yield tr("traded"), traded, ""
    held = f"{_plain(profit.net)} @ {_plain(profit.average_price)}" if profit.net else "0"
    yield tr("net of this run"), held, ""
    made = tr("{realized} realised, {fees} fees", realized=_plain(profit.realized), fees=_plain(profit.fees))
    yield tr("made by this run"), made, "bad" if profit.realized < profit.fees else ""
    if books.cuts:
        yield tr("limits cutting now"), "; ".join(books.cuts), "warn"


def summary_json(books: Books) -> dict[str, Any]:
    """Return the same for scripts; amounts are text, exact."""
    bought, sold = _traded(books)
    profit = books.profit
    return {
        "bought": str(bought),
        "sold": str(sold),
        "net": str(profit.net),
        "average_price": str(profit.average_price),
        "realized": str(profit.realized),
        "fees": str(profit.fees),
        "open_orders": sum(not order.ended for order in books.orders.values()),
        "limits_cutting": list(books.cuts),
    }


def _traded(books: Books) -> tuple[Decimal, Decimal]:
    totals: list[LevelTotals] = list(books.totals.values())
    return sum((t.bought for t in totals), Decimal(0)), sum((t.sold for t in totals), Decimal(0))


def _plain(amount: Decimal) -> str:
    rounded = round(amount, 8)
    return f"{rounded.normalize():f}" if rounded else "0"

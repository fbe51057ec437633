"""Backpack's histories, read page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from exchanges.backpack import answers, parse
from exchanges.backpack.client import Response
from exchanges.backpack.signing import Fields
from exchanges.base import FillsPage
from exchanges.errors import Unavailable
from market.orders import OpenOrder
from market.position import Fill, FundingPayment

#: Rows of one page of a history, the most the exchange gives.
PAGE_ROWS = 1000
#: Pages read before we say that we do not know: 100 000 rows.
MAX_PAGES = 100
#: Pages of the account's fills read in one go, 20 000 rows: who waits for it waits seconds, not minutes.
FILL_PAGES = 20

#: Sends a signed GET: path, instruction, query.
Get = Callable[[str, str, Fields], Response]
#: Symbol, order id and trade id: trades are counted per symbol.
FillId = tuple[str, str, str]


def fills(get: Get, fields: Fields, *, since_ms: int) -> tuple[Fill, ...]:
    """Return all fills at or after `since_ms` that `fields` leave in, oldest first.

    Raises:
        Unavailable: there are more than anybody can have meant to ask for.
    """
    found: dict[FillId, Fill] = {}
    for rows, is_last in _fill_pages(get, fields, since_ms=since_ms):
        found |= _by_id(rows)
        if is_last:
            return _oldest_first(found)
    raise Unavailable(f"more than {MAX_PAGES * PAGE_ROWS} fills; ask for a later since_ms")


def fills_page(get: Get, *, since_ms: int) -> FillsPage:
    """Return the account's fills at or after `since_ms`, oldest first, those of `FILL_PAGES` pages at most.

    It reads on while all are of the millisecond `since_ms`: to ask again from there would get nowhere.

    Raises:
        Unavailable: nothing but fills of one millisecond; or the exchange does not begin with the oldest,
            and who asks again from the last one would pass over those that were not shown.
    """
    found: dict[FillId, Fill] = {}
    for pages, (rows, is_last) in enumerate(_fill_pages(get, {}, since_ms=since_ms), start=1):
        found |= _by_id(rows)
        if is_last:
            return FillsPage(fills=_oldest_first(found), is_complete=True)
        if next(iter(found.values())).filled_at_ms > rows[-1].filled_at_ms:
            raise Unavailable("the history of fills does not begin with the oldest")
        if pages >= FILL_PAGES and rows[-1].filled_at_ms > since_ms:
            return FillsPage(fills=_oldest_first(found), is_complete=False)
    raise Unavailable(f"more than {MAX_PAGES * PAGE_ROWS} fills at {since_ms} ms")


def _fill_pages(get: Get, fields: Fields, *, since_ms: int) -> Iterator[tuple[list[Fill], bool]]:
    """Yield `MAX_PAGES` pages at most, and whether each is the last.

    From the old end, so that a fill that happens meanwhile lengthens the last page instead of pushing one
    over the edge of two.
    """
    seen = 0
    for _ in range(MAX_PAGES):
        page: Fields = {"from": since_ms, "limit": PAGE_ROWS, "offset": seen, "sortDirection": "Asc"}
        answer = get("/wapi/v1/history/fills", "fillHistoryQueryAll", {**fields, **page})
        rows = answers.read(parse.fills, answer)
        seen += len(rows)
        yield rows, answers.is_last_page(answer, seen=seen, rows=len(rows), page_rows=PAGE_ROWS)


def _by_id(rows: Iterable[Fill]) -> dict[FillId, Fill]:
    return {(fill.symbol, fill.order_id, fill.trade_id): fill for fill in rows}


def _oldest_first(found: Mapping[FillId, Fill]) -> tuple[Fill, ...]:
    return tuple(sorted(found.values(), key=lambda fill: fill.filled_at_ms))


def order_of_client(get: Get, symbol: str, client_order_id: int, *, oldest_ms: int) -> OpenOrder | None:
    """Return the newest order with this client order id, None when there is none since `oldest_ms`."""
    for page in range(MAX_PAGES):
        answer = get(
            "/wapi/v1/history/orders",
            "orderHistoryQueryAll",
            {"symbol": symbol, "limit": PAGE_ROWS, "offset": page * PAGE_ROWS, "sortDirection": "Desc"},
        )
        rows = answers.read(parse.orders, answer)
        recent = [row for row in rows if row.created_at_ms >= oldest_ms]
        for row in recent:
            if row.client_order_id == client_order_id:
                return row
        if not recent or answers.is_last_page(
            answer, seen=page * PAGE_ROWS + len(rows), rows=len(rows), page_rows=PAGE_ROWS
        ):
            return None
    raise Unavailable(f"the order history of {symbol} has no end; ask again with a later not_before_ms")


def funding_payments(get: Get, *, since_ms: int) -> tuple[FundingPayment, ...]:
    """Return the funding of intervals that ended at or after `since_ms`, oldest first.

    The exchange takes no start, so this reads back from the new end. A payment that is booked meanwhile
    shows the last row of a page again on the next one; equal rows count once.

    Raises:
        Unavailable: the history goes on and on.
    """
    found: set[FundingPayment] = set()
    seen = 0
    for _ in range(MAX_PAGES):
        answer = get(
            "/wapi/v1/history/funding",
            "fundingHistoryQueryAll",
            {"limit": PAGE_ROWS, "offset": seen, "sortDirection": "Desc"},
        )
        rows = answers.read(parse.funding_payments, answer)
        seen += len(rows)
        found |= {row for row in rows if row.interval_end_ms >= since_ms}
        reached = any(row.interval_end_ms < since_ms for row in rows)
        if reached or answers.is_last_page(answer, seen=seen, rows=len(rows), page_rows=PAGE_ROWS):
            return tuple(sorted(found, key=lambda payment: (payment.interval_end_ms, payment.symbol)))
    raise Unavailable(f"more than {MAX_PAGES * PAGE_ROWS} funding payments; ask for a later since_ms")

"""Signed endpoints: what was. A bounded number of orders and fills is kept per account."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from aiohttp import web

from simulator.errors import BadRequest
from simulator.exchange import EXCHANGE
from simulator.funding import FundingPayment
from simulator.liquidation import FILL_TYPES, is_of_type
from simulator.orders import Fill, Order, text
from simulator.signed_request import (
    fits,
    integer_of,
    page,
    shown_as_at_ms,
    signed_query,
    symbol_asked_for,
)

routes = web.RouteTableDef()


@routes.get("/wapi/v1/history/orders")
async def order_history(request: web.Request) -> web.Response:
    """Return past and present orders, as they are, or as they were when a stale-history fault is on."""
    signed, query = signed_query(request, "orderHistoryQueryAll")
    engine, name, symbol = request.app[EXCHANGE].engine, signed.account.name, symbol_asked_for(query)
    at_ms = shown_as_at_ms(request, "stale_history")
    rows = engine.orders.between(name, symbol, None, None if at_ms is None else at_ms + 1)
    if not query.keys().isdisjoint({"orderId", "marketType", "strategyId"}):
        rows = [order for order in rows if _is_asked_for(query, order)]
    if at_ms is None:
        return page(query, rows, Order.history)
    return page(query, rows, _history_as_at(at_ms, engine.fills.between(name, symbol, at_ms + 1, None)))


def _history_as_at(at_ms: int, later: Sequence[Fill]) -> Callable[[Order], dict[str, Any]]:
    """Return what writes the row of an order as it was before the `later` fills, and before its end."""
    fills: dict[int, list[Fill]] = {}
    for fill in later:
        fills.setdefault(fill.order.order_id, []).append(fill)

    def row(order: Order) -> dict[str, Any]:
        undone = fills.get(order.order_id, [])
        if not undone and (order.ended_at_ms is None or order.ended_at_ms <= at_ms):
            return order.history()
        executed = order.executed - sum((fill.quantity for fill in undone), Decimal(0))
        quote = order.executed_quote - sum((fill.quantity * fill.price for fill in undone), Decimal(0))
        return order.history() | {
            "status": "PartiallyFilled" if executed else "New",
            "executedQuantity": text(executed),
            "executedQuoteQuantity": text(quote),
            "expiryReason": None,
        }

    return row


@routes.get("/wapi/v1/history/fills")
async def fill_history(request: web.Request) -> web.Response:
    """Return the account's fills; `from` (ms) is inclusive, `to` is not.

    Without `fillType` those that the exchange made of its own accord are among them; those of late are not
    when a stale-history fault is on.
    """
    signed, query = signed_query(request, "fillHistoryQueryAll")
    from_ms = integer_of(query, "from", 0) if "from" in query else None
    to_ms = integer_of(query, "to", 0) if "to" in query else None
    at_ms = shown_as_at_ms(request, "stale_history")
    if at_ms is not None:
        to_ms = at_ms + 1 if to_ms is None else min(to_ms, at_ms + 1)
    fills = request.app[EXCHANGE].engine.fills
    rows = fills.between(signed.account.name, symbol_asked_for(query), from_ms, to_ms)
    fill_type = query.get("fillType")
    if fill_type is not None:
        if fill_type not in FILL_TYPES:
            raise BadRequest("failed to parse parameter `fillType`: Expect a valid enumeration value.")
        rows = [fill for fill in rows if is_of_type(fill_type, fill.order.wanted.system_order_type)]
    if not query.keys().isdisjoint({"orderId", "marketType", "strategyId"}):
        rows = [fill for fill in rows if _is_asked_for(query, fill.order)]
    return page(query, rows, Fill.wire)


def _is_asked_for(query: Mapping[str, str], order: Order) -> bool:
    # There are no strategy orders here, so none belongs to a strategy.
    return (
        fits(query, order.symbol)
        and query.get("orderId") in {None, str(order.order_id)}
        and "strategyId" not in query
    )


def _nothing(request: web.Request, instruction: str) -> web.Response:
    nothing: Sequence[dict[str, Any]] = ()
    return page(signed_query(request, instruction)[1], nothing, dict)


@routes.get("/wapi/v1/history/funding")
async def funding_history(request: web.Request) -> web.Response:
    """Return what the account's positions got and paid."""
    signed, query = signed_query(request, "fundingHistoryQueryAll")
    payments = request.app[EXCHANGE].funding.payments
    return page(query, payments.rows(signed.account.name, symbol_asked_for(query)), FundingPayment.wire)


@routes.get("/wapi/v1/history/settlement")
async def settlement_history(request: web.Request) -> web.Response:
    """Return no settlements: profit is booked when a position is reduced."""
    return _nothing(request, "settlementHistoryQueryAll")


@routes.get("/wapi/v1/history/interest")
async def interest_history(request: web.Request) -> web.Response:
    """Return no interest: nobody borrows or lends here."""
    return _nothing(request, "interestHistoryQueryAll")


@routes.get("/wapi/v1/history/borrowLend")
async def borrow_history(request: web.Request) -> web.Response:
    """Return no borrowing."""
    return _nothing(request, "borrowHistoryQueryAll")


@routes.get("/wapi/v1/history/borrowLend/positions")
async def borrow_position_history(request: web.Request) -> web.Response:
    """Return no borrowing."""
    return _nothing(request, "borrowPositionHistoryQueryAll")

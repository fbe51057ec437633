"""Signed endpoints: what was. A bounded number of orders and fills is kept per account."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from simulator.errors import BadRequest
from simulator.exchange import EXCHANGE
from simulator.liquidation import FILL_TYPES, is_of_type
from simulator.orders import Fill, Order
from simulator.signed_request import fits, integer_of, page, signed_query, symbol_asked_for

routes = web.RouteTableDef()


@routes.get("/wapi/v1/history/orders")
async def order_history(request: web.Request) -> web.Response:
    """Return past and present orders."""
    signed, query = signed_query(request, "orderHistoryQueryAll")
    rows = request.app[EXCHANGE].engine.orders.rows(signed.account.name, symbol_asked_for(query))
    if not query.keys().isdisjoint({"orderId", "marketType", "strategyId"}):
        rows = [order for order in rows if _is_asked_for(query, order)]
    return page(query, rows, Order.history)


@routes.get("/wapi/v1/history/fills")
async def fill_history(request: web.Request) -> web.Response:
    """Return the account's fills; `from` (ms) is inclusive, `to` is not.

    Without `fillType` those that the exchange made of its own accord are among them.
    """
    signed, query = signed_query(request, "fillHistoryQueryAll")
    rows = request.app[EXCHANGE].engine.fills.between(
        signed.account.name,
        symbol_asked_for(query),
        integer_of(query, "from", 0) if "from" in query else None,
        integer_of(query, "to", 0) if "to" in query else None,
    )
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
    """Return no payments: the simulator charges no funding."""
    return _nothing(request, "fundingHistoryQueryAll")


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

"""Signed endpoints: what was. The engine keeps a bounded number of orders and fills."""

from __future__ import annotations

from aiohttp import web

from simulator.exchange import EXCHANGE
from simulator.signed_request import fits, integer_of, page, signed_query

routes = web.RouteTableDef()


@routes.get("/wapi/v1/history/orders")
async def order_history(request: web.Request) -> web.Response:
    """Return past and present orders."""
    signed, query = signed_query(request, "orderHistoryQueryAll")
    return page(
        query,
        [
            order.history()
            for order in request.app[EXCHANGE].engine.orders
            if order.account is signed.account
            and fits(query, order.wanted.market.symbol)
            and query.get("orderId") in {None, str(order.order_id)}
        ],
    )


@routes.get("/wapi/v1/history/fills")
async def fill_history(request: web.Request) -> web.Response:
    """Return the account's fills; `from` (ms) is inclusive, `to` is not."""
    signed, query = signed_query(request, "fillHistoryQueryAll")
    first_ms, last_ms = integer_of(query, "from", 0), integer_of(query, "to", 10**15)
    return page(
        query,
        [
            fill.wire()
            for fill in request.app[EXCHANGE].engine.fills
            if fill.order.account is signed.account
            and fits(query, fill.order.wanted.market.symbol)
            and query.get("orderId") in {None, str(fill.order.order_id)}
            and first_ms <= fill.at_ms < last_ms
        ],
    )


@routes.get("/wapi/v1/history/funding")
async def funding_history(request: web.Request) -> web.Response:
    """Return no payments: the simulator charges no funding."""
    return page(signed_query(request, "fundingHistoryQueryAll")[1], [])


@routes.get("/wapi/v1/history/settlement")
async def settlement_history(request: web.Request) -> web.Response:
    """Return no settlements: profit is booked when a position is reduced."""
    return page(signed_query(request, "settlementHistoryQueryAll")[1], [])

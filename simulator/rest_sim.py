"""The operator's side: faults, the witness, and other people's orders. Unsigned; loopback only."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from typing import Any

from aiohttp import web

from simulator.errors import Refusal
from simulator.exchange import EXCHANGE
from simulator.faults import FaultError, parse
from simulator.order_request import parse_order

routes = web.RouteTableDef()


@routes.get("/sim/faults")
async def show_faults(request: web.Request) -> web.Response:
    """Return the rules in force with their hits."""
    return _rules(request)


def _rules(request: web.Request) -> web.Response:
    return web.json_response([dataclasses.asdict(rule) for rule in request.app[EXCHANGE].faults.rules])


@routes.post("/sim/faults")
async def set_faults(request: web.Request) -> web.Response:
    """Replace all rules."""
    try:
        request.app[EXCHANGE].faults.rules = parse(await request.json())
    except (FaultError, TypeError, ValueError) as error:
        return web.json_response({"code": "INVALID_FAULT", "message": str(error)}, status=400)
    return _rules(request)


@routes.delete("/sim/faults")
async def clear_faults(request: web.Request) -> web.Response:
    """Remove all rules."""
    request.app[EXCHANGE].faults.rules = []
    return web.json_response([])


@routes.get("/sim/journal")
async def journal(request: web.Request) -> web.Response:
    """Return the witness's entries behind `since`."""
    return web.json_response(request.app[EXCHANGE].journal.since(int(request.query.get("since", "0"))))


@routes.get("/sim/orders")
async def orders(request: web.Request) -> web.Response:
    """Return every open order, or those of one account."""
    engine = request.app[EXCHANGE].engine
    name = request.query.get("account")
    return web.json_response(
        [
            order.witness()
            for account in engine.accounts.values()
            if name in {None, account.name}
            for order in engine.open_orders(account)
        ]
    )


@routes.post("/sim/orders")
async def place(request: web.Request) -> web.Response:
    """Place an order for `account` (default: the third party) without a signature."""
    exchange = request.app[EXCHANGE]
    body: dict[str, Any] = await request.json()
    account = exchange.engine.accounts.get(body.pop("account", "other"))
    if account is None:
        raise Refusal("RESOURCE_NOT_FOUND", "No such account", 404)
    order = exchange.engine.place(
        account, parse_order(body), signed_at_ms=exchange.now_ms(), window_ms=60_000
    )
    return web.json_response(order.wire())


@routes.post("/sim/market")
async def move_market(request: web.Request) -> web.Response:
    """Move the middle of a symbol: `{"symbol", "price"}`; what it runs over is filled."""
    exchange = request.app[EXCHANGE]
    body = await request.json()
    symbol, price = body["symbol"], Decimal(str(body["price"]))
    if exchange.flow is not None:
        exchange.flow.move(symbol, price)
    return web.json_response({"symbol": symbol, "price": str(price)})


@routes.post("/sim/trade")
async def trade(request: web.Request) -> web.Response:
    """Let others trade: `{"symbol", "side" (of the aggressor), "price", "quantity"}`."""
    body = await request.json()
    request.app[EXCHANGE].engine.outside_trade(
        body["symbol"],
        Decimal(str(body["price"])),
        Decimal(str(body["quantity"])),
        aggressor_sells=body["side"] == "Ask",
    )
    return web.json_response({})

"""The operator's side: faults, the witness, and other people's orders. Unsigned; loopback only."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from aiohttp import web

from simulator.accounts import Account
from simulator.errors import BadRequest, Refusal
from simulator.exchange import EXCHANGE, Exchange
from simulator.faults import FaultError, parse
from simulator.flow import HALF_SPREAD_TICKS
from simulator.journal import EVENTS
from simulator.liquidation import liquidate
from simulator.markets import MARKETS
from simulator.order_request import decimal_of, one_of, parse_order
from simulator.signed_request import integer_of, symbol_of
from simulator.stepping import MOST_EVENTS
from simulator.tape import TapeError

routes = web.RouteTableDef()

#: Shown on each side by a touch that an operator sets, in minimum quantities.
TOUCH_SIZE = 100


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
        rules = parse(await request.json())
    except (FaultError, ValueError) as error:
        return web.json_response({"code": "INVALID_FAULT", "message": str(error)}, status=400)
    request.app[EXCHANGE].faults.rules = rules
    return _rules(request)


@routes.delete("/sim/faults")
async def clear_faults(request: web.Request) -> web.Response:
    """Remove all rules."""
    request.app[EXCHANGE].faults.rules = []
    return web.json_response([])


@routes.get("/sim/journal")
async def journal(request: web.Request) -> web.Response:
    """Return the witness's entries behind `since`, those of one account and of some events if asked for.

    The headers tell the oldest entry that is kept and the newest one: what is left out is not missing.
    """
    exchange, query = request.app[EXCHANGE], request.query
    account = account_of(exchange, query["account"]).name if "account" in query else None
    events = query.getall("event", [])
    if not EVENTS.issuperset(events):
        raise BadRequest(f"`event` must be one of {', '.join(sorted(EVENTS))}")
    witness = exchange.journal
    lines = witness.lines_since(integer_of(query, "since", 0), account=account, events=events)
    return web.Response(
        text=f"[{','.join(lines)}]",
        content_type="application/json",
        headers={"X-JOURNAL-FIRST": str(witness.first_kept), "X-JOURNAL-LAST": str(witness.last)},
    )


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
            for order in engine.resting.of_account(account)
        ]
    )


@routes.post("/sim/orders")
async def place(request: web.Request) -> web.Response:
    """Place an order for `account` (default: the third party) without a signature."""
    exchange = request.app[EXCHANGE]
    body = await body_of(request)
    account = account_of(exchange, body.pop("account", "other"))
    order = exchange.engine.place(account, parse_order(body), signed_at_ms=exchange.now_ms(), window_ms=None)
    return web.json_response(order.wire())


@routes.post("/sim/liquidate")
async def liquidate_position(request: web.Request) -> web.Response:
    """Let the exchange close part of a position: `{"account", "symbol", "quantity"}`; returns its order."""
    exchange = request.app[EXCHANGE]
    body = await body_of(request)
    account, market = account_of(exchange, body.get("account")), MARKETS[symbol_of(body)]
    order = liquidate(exchange.engine, account, market, _positive(body, "quantity"), at_ms=exchange.now_ms())
    return web.json_response(order.wire())


@routes.post("/sim/market")
async def move_market(request: web.Request) -> web.Response:
    """Move the middle of a symbol: `{"symbol", "price"}`; what it runs over is filled."""
    exchange = request.app[EXCHANGE]
    body = await body_of(request)
    market, price = MARKETS[symbol_of(body)], _positive(body, "price")
    if exchange.flow is not None:
        exchange.flow.move(market.symbol, price)
    else:
        centre = (price / market.tick).to_integral_value() * market.tick
        half = market.tick * HALF_SPREAD_TICKS
        size = market.min_quantity * TOUCH_SIZE
        exchange.engine.outside_quote(market.symbol, centre - half, size, centre + half, size)
    return web.json_response({"symbol": market.symbol, "price": str(price)})


@routes.post("/sim/step")
async def step(request: web.Request) -> web.Response:
    """Play the next `{"events"}` of a market that moves when it is told to."""
    stepper = request.app[EXCHANGE].stepper
    if stepper is None:
        raise Refusal("INVALID_STEP", "Nothing to step: start the simulator with --flow manual")
    events = (await body_of(request)).get("events")
    if isinstance(events, bool) or not isinstance(events, int) or not 0 < events <= MOST_EVENTS:
        raise BadRequest(f"`events` must be a whole number from 1 to {MOST_EVENTS}")
    try:
        played = stepper.play(events)
    except TapeError as error:
        raise Refusal("INVALID_TAPE", str(error), 500) from None
    return web.json_response({"played": played, "ended": stepper.ended})


@routes.post("/sim/trade")
async def trade(request: web.Request) -> web.Response:
    """Let others trade: `{"symbol", "side" (of the aggressor), "price", "quantity"}`."""
    body = await body_of(request)
    request.app[EXCHANGE].engine.outside_trade(
        symbol_of(body),
        _positive(body, "price"),
        _positive(body, "quantity"),
        aggressor_sells=one_of(body, "side", ("Bid", "Ask")) == "Ask",
    )
    return web.json_response({})


def account_of(exchange: Exchange, name: Any) -> Account:
    """Return an account by its name. Raises `Refusal`."""
    account = exchange.engine.accounts.get(str(name))
    if account is None:
        raise Refusal("RESOURCE_NOT_FOUND", "No such account", 404)
    return account


async def body_of(request: web.Request) -> dict[str, Any]:
    """Return the JSON object of a request. Raises `BadRequest`."""
    try:
        body = json.loads(await request.text(), parse_float=Decimal)
    except ValueError as error:
        raise BadRequest(f"not JSON: {error}") from None
    if not isinstance(body, dict):
        raise BadRequest("expected a JSON object")
    return body


def _positive(body: Mapping[str, Any], name: str) -> Decimal:
    value = decimal_of(body, name)
    if value is None or value <= 0:
        raise BadRequest(f"`{name}` must be a positive decimal")
    return value

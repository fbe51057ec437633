"""The operator's side of the streams: who listens, forced ends of connections, faults; and funding."""

from __future__ import annotations

import asyncio
import dataclasses

from aiohttp import WSCloseCode, web

from simulator.errors import BadRequest, Refusal
from simulator.exchange import EXCHANGE
from simulator.faults import FaultError
from simulator.markets import MARKETS
from simulator.order_request import boolean_of, decimal_of
from simulator.rest_sim import account_of, body_of
from simulator.signed_request import symbol_of
from simulator.stream_faults import parse
from simulator.stream_server import end

routes = web.RouteTableDef()


@routes.get("/sim/streams")
async def connections(request: web.Request) -> web.Response:
    """Return the open connections with what they are subscribed to."""
    return web.json_response(
        [
            {
                "connection": connection.number,
                "accounts": list(connection.accounts),
                "streams": [name for name, _ in connection.topics],
                "sent": connection.sent,
                "waiting": connection.waiting,
            }
            for connection in request.app[EXCHANGE].streams.of_account(None)
        ]
    )


@routes.post("/sim/streams/disconnect")
async def disconnect(request: web.Request) -> web.Response:
    """End the connections of `account` (default: all), with a reset if `abort` is true; return how many."""
    exchange = request.app[EXCHANGE]
    body = await body_of(request)
    name = account_of(exchange, body["account"]).name if body.get("account") is not None else None
    chosen = exchange.streams.of_account(name)
    abruptly = boolean_of(body, "abort") or False
    await asyncio.gather(
        *(
            end(request.app, connection, abruptly=abruptly, code=WSCloseCode.GOING_AWAY)
            for connection in chosen
        )
    )
    return web.json_response({"closed": len(chosen)})


@routes.get("/sim/streams/faults")
async def show_faults(request: web.Request) -> web.Response:
    """Return the rules in force with their hits."""
    return _rules(request)


def _rules(request: web.Request) -> web.Response:
    rules = request.app[EXCHANGE].streams.faults.rules
    return web.json_response([dataclasses.asdict(rule) for rule in rules])


@routes.post("/sim/streams/faults")
async def set_faults(request: web.Request) -> web.Response:
    """Replace all rules."""
    exchange = request.app[EXCHANGE]
    try:
        rules = parse(await request.json(), exchange.engine.accounts)
    except (FaultError, ValueError) as error:
        return web.json_response({"code": "INVALID_FAULT", "message": str(error)}, status=400)
    exchange.streams.faults.replace(rules)
    return _rules(request)


@routes.delete("/sim/streams/faults")
async def clear_faults(request: web.Request) -> web.Response:
    """Remove all rules, and thaw what they froze."""
    request.app[EXCHANGE].streams.faults.replace([])
    return web.json_response([])


@routes.post("/sim/funding")
async def settle_funding(request: web.Request) -> web.Response:
    """Settle an interval of a perpetual now: `{"symbol", "rate"}`; return everybody's payments."""
    exchange = request.app[EXCHANGE]
    body = await body_of(request)
    market, rate = MARKETS[symbol_of(body)], decimal_of(body, "rate")
    if not market.perp:
        raise Refusal("INVALID_MARKET", f"{market.symbol} has no funding")
    if rate is None or not -1 <= rate <= 1:
        raise BadRequest("`rate` must be a decimal, a fraction of the notional")
    payments = exchange.funding.settle(market, rate, at_ms=exchange.now_ms())
    return web.json_response([{"account": payment.account} | payment.wire() for payment in payments])

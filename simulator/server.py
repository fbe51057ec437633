"""The HTTP side: faults around every endpoint, errors as the exchange words them, and the market flow."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web

from simulator import rest_private, rest_public, rest_sim
from simulator.accounts import Account
from simulator.errors import BadRequest, Refusal
from simulator.exchange import EXCHANGE, Exchange
from simulator.faults import Fault
from simulator.flow import EVENTS_PER_S
from simulator.rest_private import FAULTS
from simulator.tape import TapeEvent, TapePlayer

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

#: A hanging request is given up after this long even if the client stays.
LONGEST_HANG_S = 120.0


def create_app(exchange: Exchange) -> web.Application:
    """Return the application of one exchange."""
    app = web.Application(middlewares=[with_faults, with_errors])
    app[EXCHANGE] = exchange
    for routes in (rest_public.routes, rest_private.routes, rest_sim.routes):
        app.add_routes(routes)
    return app


@web.middleware
async def with_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn refusals into the documented bodies, undecodable requests into plain text; keep a witness."""
    try:
        response = await handler(request)
    except Refusal as refusal:
        response = web.json_response(
            {"code": refusal.code, "message": refusal.message}, status=refusal.status
        )
    except BadRequest as error:
        response = web.Response(text=str(error), status=400)
    except web.HTTPNotFound:
        response = web.Response(text="404 not found", status=404)
    _witness(request, response.status)
    return response


def _witness(request: web.Request, status: int) -> None:
    if "X-API-Key" not in request.headers:
        return
    request.app[EXCHANGE].journal.write(
        "request",
        account=_account_name(request),
        method=request.method,
        path=request.path,
        status=status,
        signed_at_ms=request.headers.get("X-Timestamp"),
    )


def _account_name(request: web.Request) -> str | None:
    key = request.headers.get("X-API-Key")
    accounts: Iterable[Account] = request.app[EXCHANGE].engine.accounts.values()
    return next((account.name for account in accounts if account.public_key == key), None)


@web.middleware
async def with_faults(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Apply latency and the faults drawn for this request."""
    if request.path.startswith("/sim/"):
        return await handler(request)
    exchange = request.app[EXCHANGE]
    drawn = exchange.faults.drawn(f"{request.method} {request.path}", _account_name(request))
    request[FAULTS] = drawn
    await asyncio.sleep(exchange.latency_ms / 1000)
    for rule in drawn:
        if rule.kind == "latency":
            await asyncio.sleep(exchange.faults.latency_s(rule))
    by_kind = {rule.kind: rule for rule in drawn}
    if "error" in by_kind:
        return _error(by_kind["error"])
    if "hang" in by_kind:
        await _until_left(request)
        return web.Response(status=500)
    if "reset_before" in by_kind:
        return _reset(request)
    if "late" in by_kind:
        await request.read()
        _process_late(request, handler, by_kind["late"].delay_ms)
        return _reset(request)
    response = await handler(request)
    return _reset(request) if "reset_after" in by_kind else response


def _error(rule: Fault) -> web.Response:
    if rule.plain:
        return web.Response(text=rule.message, status=rule.status)
    return web.json_response({"code": rule.code, "message": rule.message}, status=rule.status)


async def _until_left(request: web.Request) -> None:
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + LONGEST_HANG_S
    while request.transport is not None and not request.transport.is_closing() and loop.time() < ends_at:
        await asyncio.sleep(0.02)


def _reset(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


def _process_late(request: web.Request, handler: Handler, delay_ms: int) -> None:
    async def process() -> None:
        await asyncio.sleep(delay_ms / 1000)
        await handler(request)

    task = asyncio.get_running_loop().create_task(process())
    # The loop keeps only weak references to tasks.
    _late.add(task)
    task.add_done_callback(_late.discard)


_late: set[asyncio.Task[None]] = set()


async def run_synthetic(exchange: Exchange) -> None:
    """Step the synthetic flow until cancelled."""
    if exchange.flow is None:
        return
    while True:
        await asyncio.sleep(1 / EVENTS_PER_S)
        exchange.flow.step()


async def run_tape(player: TapePlayer, events: Iterable[TapeEvent], speed: float) -> None:
    """Replay a tape at `speed` times its pace, then stand still."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    for event in events:
        ahead_s = event.at_s / speed - (loop.time() - began)
        if ahead_s > 0.001:
            await asyncio.sleep(ahead_s)
        player.play(event)

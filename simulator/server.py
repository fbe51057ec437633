"""The HTTP side: faults around every endpoint, and errors as the exchange words them."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable

from aiohttp import web

from simulator import (
    rest_account,
    rest_history,
    rest_orders,
    rest_public,
    rest_sim,
    rest_sim_streams,
    stream_server,
)
from simulator.errors import BadRequest, Refusal
from simulator.exchange import EXCHANGE, Exchange
from simulator.faults import Fault
from simulator.signed_request import ARRIVED_AT_MS, FAULTS
from simulator.sockets import reset

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

#: A hanging request is given up after this long even if the client stays.
LONGEST_HANG_S = 120.0
#: How often a hanging request looks whether its client has left.
HANG_POLL_S = 0.02

LATE: web.AppKey[set[asyncio.Task[None]]] = web.AppKey("late", set)


def create_app(exchange: Exchange) -> web.Application:
    """Return the application of one exchange."""
    app = web.Application(middlewares=[with_faults, with_errors])
    app[EXCHANGE] = exchange
    app[LATE] = set()
    app.on_shutdown.append(stream_server.close_all)
    app.cleanup_ctx.append(stream_server.telling_figures)
    for part in (
        rest_public,
        rest_orders,
        rest_account,
        rest_history,
        rest_sim,
        rest_sim_streams,
        stream_server,
    ):
        app.add_routes(part.routes)
    return app


@web.middleware
async def with_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn refusals into the documented bodies, undecodable requests into plain text; keep a witness."""
    code = message = None
    response: web.StreamResponse
    try:
        response = await handler(request)
    except Refusal as refusal:
        code, message = refusal.code, refusal.message
        response = web.json_response({"code": code, "message": message}, status=refusal.status)
    except BadRequest as error:
        message = str(error)
        response = web.Response(text=message, status=400)
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed):
        response = web.Response(text="404 not found", status=404)
    except web.HTTPException as error:
        message = error.reason
        response = web.Response(text=message, status=error.status)
    if not _is_operator(request):
        _witness(request, "request", status=response.status, code=code, message=message)
    return response


def _is_operator(request: web.Request) -> bool:
    return request.path.startswith("/sim/")


def _witness(request: web.Request, event: str, **fields: object) -> None:
    signed_at = request.headers.get("X-Timestamp", "")
    readable = signed_at.isascii() and signed_at.isdigit() and len(signed_at) < 16
    request.app[EXCHANGE].journal.write(
        event,
        account=_account_name(request),
        method=request.method,
        path=request.path,
        **fields,
        signed_at_ms=int(signed_at) if readable else None,
        arrived_at_ms=request[ARRIVED_AT_MS],
    )


def _account_name(request: web.Request) -> str | None:
    owner = request.app[EXCHANGE].keys.owner(request.headers.get("X-API-Key", ""))
    return owner.name if owner else None


@web.middleware
async def with_faults(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Apply latency and the faults drawn for this request."""
    exchange = request.app[EXCHANGE]
    request[ARRIVED_AT_MS] = exchange.now_ms()
    if _is_operator(request):
        return (
            await handler(request) if _is_local(request) else web.Response(text="loopback only", status=403)
        )
    drawn = exchange.faults.drawn(f"{request.method} {request.path}", _account_name(request))
    request[FAULTS] = drawn
    for rule in drawn:
        _witness(request, "fault", kind=rule.kind)
    wait_s = exchange.latency_ms / 1000
    wait_s += sum(exchange.faults.latency_s(rule) for rule in drawn if rule.kind == "latency")
    if wait_s > 0:
        await asyncio.sleep(wait_s)
    by_kind = {rule.kind: rule for rule in drawn}
    if "error" in by_kind:
        return _error(by_kind["error"])
    if "hang" in by_kind:
        await _until_left(request)
        return _reset(request)
    if "reset_before" in by_kind:
        return _reset(request)
    if "late" in by_kind:
        # Once the connection is gone the body could not be read any more.
        await request.read()
        _process_late(request, handler, by_kind["late"].delay_ms)
        return _reset(request)
    response = await handler(request)
    return _reset(request) if "reset_after" in by_kind else response


def _is_local(request: web.Request) -> bool:
    try:
        return ipaddress.ip_address(request.remote or "").is_loopback
    except ValueError:
        return False


def _error(rule: Fault) -> web.Response:
    if rule.plain:
        return web.Response(text=rule.message, status=rule.status)
    return web.json_response({"code": rule.code, "message": rule.message}, status=rule.status)


async def _until_left(request: web.Request) -> None:
    loop = asyncio.get_running_loop()
    ends_at_s = loop.time() + LONGEST_HANG_S
    while request.transport is not None and not request.transport.is_closing() and loop.time() < ends_at_s:
        await asyncio.sleep(HANG_POLL_S)


def _reset(request: web.Request) -> web.Response:
    reset(request.transport)
    return web.Response(status=500)


def _process_late(request: web.Request, handler: Handler, delay_ms: float) -> None:
    async def process() -> None:
        await asyncio.sleep(delay_ms / 1000)
        await handler(request)

    late = request.app[LATE]
    task = asyncio.get_running_loop().create_task(process())
    # The loop keeps only weak references to tasks.
    late.add(task)
    task.add_done_callback(late.discard)

"""Signed endpoints: orders."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from simulator.accounts import Account
from simulator.errors import Refusal
from simulator.exchange import EXCHANGE, Exchange
from simulator.order_request import client_id_of, one_of, order_id_of, parse_order
from simulator.orders import Order, Wanted
from simulator.signature import Signed
from simulator.signed_request import (
    fault_of,
    fits,
    shown_as_at_ms,
    signed_list,
    signed_object,
    signed_query,
    symbol_asked_for,
    symbol_of,
)

routes = web.RouteTableDef()


@routes.post("/api/v1/order")
async def place(request: web.Request) -> web.Response:
    """Place one order."""
    signed, body = await signed_object(request, "orderExecute")
    exchange = request.app[EXCHANGE]
    wanted = parse_order(body, strict_client_id=exchange.strict_client_ids)
    await _hold_takers(exchange, [wanted])
    return web.json_response(_place(exchange, signed, wanted).wire())


@routes.post("/api/v1/orders")
async def place_batch(request: web.Request) -> web.Response:
    """Place several orders; each is for itself, but one that cannot be decoded fails them all."""
    signed, body = await signed_list(request, "orderExecute")
    exchange = request.app[EXCHANGE]
    # All are decoded before any is placed: a refusal of the whole batch must leave nothing on the book.
    batch = [_parsed(exchange, item) for item in body]
    await _hold_takers(exchange, [item for item in batch if isinstance(item, Wanted)])
    return web.json_response([_placed_in_batch(exchange, signed, item) for item in batch])


def _parsed(exchange: Exchange, item: Mapping[str, Any]) -> Wanted | Refusal:
    try:
        return parse_order(item, strict_client_id=exchange.strict_client_ids)
    except Refusal as refusal:
        return refusal


def _placed_in_batch(exchange: Exchange, signed: Signed, item: Wanted | Refusal) -> dict[str, Any]:
    try:
        if isinstance(item, Refusal):
            raise item
        return _place(exchange, signed, item).wire() | {"operation": "Ok"}
    except Refusal as refusal:
        return {"operation": "Err", "code": refusal.code, "message": refusal.message}


async def _hold_takers(exchange: Exchange, batch: list[Wanted]) -> None:
    if exchange.taker_hold_ms and not all(wanted.post_only for wanted in batch):
        await asyncio.sleep(exchange.taker_hold_ms / 1000)


def _place(exchange: Exchange, signed: Signed, wanted: Wanted) -> Order:
    return exchange.engine.place(
        signed.account,
        wanted,
        signed_at_ms=signed.at_ms,
        window_ms=None if exchange.window_check_on_arrival else signed.window_ms,
    )


@routes.get("/api/v1/order")
async def order_query(request: web.Request) -> web.Response:
    """Return one resting order."""
    signed, query = signed_query(request, "orderQuery")
    # A query knows no numbers, so its ids are always text.
    found = _find(request.app[EXCHANGE], signed.account, query, client_id_of(query))
    return web.json_response(found.wire())


@routes.get("/api/v1/orders")
async def open_orders(request: web.Request) -> web.Response:
    """Return the open orders, as they are, or as they were when a stale-list fault is on."""
    signed, query = signed_query(request, "orderQueryAll")
    symbol_asked_for(query)
    resting = request.app[EXCHANGE].engine.resting
    at_ms = shown_as_at_ms(request, "stale_list")
    found = (
        resting.of_account(signed.account) if at_ms is None else resting.of_account_at(signed.account, at_ms)
    )
    # What has ended since is shown as if it still rested.
    return web.json_response(
        [order.wire() | {"status": order.resting_status} for order in found if fits(query, order.symbol)]
    )


@routes.delete("/api/v1/order")
async def cancel(request: web.Request) -> web.Response:
    """Cancel one order; 202 without a body when it happens later."""
    signed, body = await signed_object(request, "orderCancel")
    exchange = request.app[EXCHANGE]
    client_id = client_id_of(body, strict=exchange.strict_client_ids)
    try:
        order = _find(exchange, signed.account, body, client_id)
    except Refusal as refusal:
        exchange.journal.write(
            "cancel_refused",
            account=signed.account.name,
            symbol=symbol_of(body),
            order_id=None if body.get("orderId") is None else str(body["orderId"]),
            client_id=client_id,
            code=refusal.code,
            message=refusal.message,
            signed_at_ms=signed.at_ms,
        )
        raise
    delay_ms = _cancel_delay_ms(request)
    if delay_ms is None:
        return web.json_response(exchange.engine.cancel(order).wire())
    _cancel_later(exchange, [order], delay_ms)
    return web.Response(status=202)


@routes.delete("/api/v1/orders")
async def cancel_all(request: web.Request) -> web.Response:
    """Cancel all orders of a symbol."""
    signed, body = await signed_object(request, "orderCancelAll")
    exchange = request.app[EXCHANGE]
    found = exchange.engine.resting.of_account(signed.account, symbol_of(body))
    kind = one_of(body, "orderType", ("RestingLimitOrder", "ConditionalOrder"), "RestingLimitOrder")
    if kind == "ConditionalOrder":
        # There are none here.
        found = []
    delay_ms = _cancel_delay_ms(request)
    if delay_ms is not None:
        _cancel_later(exchange, found, delay_ms)
        return web.Response(status=202)
    return web.json_response([exchange.engine.cancel(order).wire() for order in found])


def _cancel_delay_ms(request: web.Request) -> float | None:
    rule = fault_of(request, "cancel_202")
    return rule.delay_ms if rule else request.app[EXCHANGE].cancel_202_ms


def _cancel_later(exchange: Exchange, orders: list[Order], delay_ms: float) -> None:
    def cancel_what_rests() -> None:
        for order in orders:
            if order.rests:
                exchange.engine.cancel(order)

    asyncio.get_running_loop().call_later(delay_ms / 1000, cancel_what_rests)


def _find(exchange: Exchange, owner: Account, fields: Mapping[str, Any], client_id: int | None) -> Order:
    symbol, order_id = symbol_of(fields), order_id_of(fields)
    if (order_id is None) == (client_id is None):
        raise Refusal("INVALID_CLIENT_REQUEST", "Must specify exactly one of `orderId` or `clientId`")
    return exchange.engine.find(owner, symbol, order_id=order_id, client_id=client_id)

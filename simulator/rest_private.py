"""Signed endpoints: account, orders, histories."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from aiohttp import web

from simulator.accounts import Account, Position
from simulator.errors import BadRequest, Refusal
from simulator.exchange import EXCHANGE, Exchange
from simulator.faults import Fault
from simulator.markets import MARKETS
from simulator.order_request import client_id_of, order_id_of, parse_order
from simulator.orders import Order, text
from simulator.signature import Signed, verify

routes = web.RouteTableDef()
#: The faults that the middleware drew for this request.
FAULTS: web.RequestKey[list[Fault]] = web.RequestKey("faults", list[Fault])


def signed_query(request: web.Request, instruction: str) -> tuple[Signed, Mapping[str, str]]:
    """Return who signed a GET request, and its query. Raises `Refusal`."""
    query = dict(request.query)
    return _signed(request, instruction, query), query


async def signed_body(request: web.Request, instruction: str) -> tuple[Signed, Any]:
    """Return who signed a request with a JSON body, and the body. Raises `Refusal` or `BadRequest`."""
    try:
        body = json.loads(await request.text() or "{}")
    except ValueError as error:
        raise BadRequest(f"parse request payload error: {error}") from None
    return _signed(request, instruction, body), body


def _signed(request: web.Request, instruction: str, payload: Mapping[str, Any] | Sequence[Any]) -> Signed:
    exchange = request.app[EXCHANGE]
    signed = verify(request.headers, instruction, payload, exchange.engine.accounts)
    exchange.rate_limit.take(signed.account.name)
    exchange.engine.check_time(signed.at_ms, signed.window_ms)
    return signed


def order_symbol(fields: Mapping[str, Any]) -> str:
    """Return the symbol of a body or query. Raises `BadRequest`."""
    symbol = fields.get("symbol")
    if symbol not in MARKETS:
        raise BadRequest('parse request payload error: failed to parse "MarketSymbol": Invalid market symbol')
    return str(symbol)


def _fault(request: web.Request, kind: str) -> Fault | None:
    return next((rule for rule in request.get(FAULTS, []) if rule.kind == kind), None)


@routes.get("/api/v1/account")
async def account(request: web.Request) -> web.Response:
    """Return fees and switches."""
    owner = signed_query(request, "accountQuery")[0].account
    return web.json_response(
        {
            "autoBorrowSettlements": True,
            "autoLend": False,
            "autoRealizePnl": True,
            "autoRepayBorrows": True,
            "borrowLimit": "0",
            "futuresMakerFee": text(owner.perp_maker_bps),
            "futuresTakerFee": text(owner.perp_taker_bps),
            "leverageLimit": "20",
            "limitOrders": len(request.app[EXCHANGE].engine.open_orders(owner)),
            "liquidating": False,
            "positionLimit": "100000",
            "spotMakerFee": text(owner.spot_maker_bps),
            "spotTakerFee": text(owner.spot_taker_bps),
            "triggerOrders": 0,
        }
    )


@routes.get("/api/v1/capital")
async def capital(request: web.Request) -> web.Response:
    """Return the balances."""
    owner = signed_query(request, "balanceQuery")[0].account
    return web.json_response(
        {
            asset: {
                "available": text(owner.available(asset)),
                "locked": text(owner.locked.get(asset, Decimal(0))),
                "staked": "0",
            }
            for asset in owner.balances
        }
    )


@routes.get("/api/v1/capital/collateral")
async def collateral(request: web.Request) -> web.Response:
    """Return the margin summary; USDC alone counts as collateral here."""
    owner = signed_query(request, "collateralQuery")[0].account
    total, free = owner.balances.get("USDC", Decimal(0)), owner.available("USDC")
    return web.json_response(
        {
            "assetsValue": text(total),
            "borrowLiability": "0",
            "collateral": [
                {
                    "symbol": "USDC",
                    "assetMarkPrice": "1",
                    "totalQuantity": text(total),
                    "balanceNotional": text(total),
                    "collateralWeight": "1",
                    "collateralValue": text(total),
                    "openOrderQuantity": text(total - free),
                    "lendQuantity": "0",
                    "availableQuantity": text(free),
                }
            ],
            "imf": "0.05",
            "unsettledEquity": "0",
            "liabilitiesValue": "0",
            "marginFraction": None,
            "mmf": "0.03",
            "netEquity": text(total),
            "netEquityAvailable": text(free),
            "netEquityLocked": text(total - free),
            "netExposureFutures": "0",
            "pnlUnrealized": "0",
        }
    )


@routes.get("/api/v1/borrowLend/positions")
async def borrow_lend(request: web.Request) -> web.Response:
    """Return no lending."""
    signed_query(request, "borrowLendPositionQuery")
    return web.json_response([])


@routes.get("/api/v1/position")
async def position(request: web.Request) -> web.Response:
    """Return the positions; 404 when a symbol is given and there is none."""
    signed, query = signed_query(request, "positionQuery")
    exchange = request.app[EXCHANGE]
    symbol = query.get("symbol")
    found = [
        _position(exchange, name, held)
        for name, held in signed.account.positions.items()
        if held.net != 0 and symbol in {None, name}
    ]
    if symbol is not None and not found:
        raise Refusal("RESOURCE_NOT_FOUND", "Not Found", 404)
    return web.json_response(found)


def _position(exchange: Exchange, symbol: str, held: Position) -> dict[str, Any]:
    mark = exchange.engine.books[symbol].mid
    unrealized = (mark - held.entry) * held.net
    return {
        "symbol": symbol,
        "positionId": held.position_id,
        "netQuantity": text(held.net),
        "entryPrice": text(held.entry),
        "breakEvenPrice": text(held.entry),
        "markPrice": text(mark),
        "estLiquidationPrice": "0",
        "netCost": text(held.net * held.entry),
        "netExposureQuantity": text(abs(held.net)),
        "netExposureNotional": text(abs(held.net) * mark),
        "pnlRealized": text(held.realized),
        "pnlUnrealized": text(unrealized),
        "cumulativeFundingPayment": "0",
        "cumulativeInterest": "0",
        "imf": "0.02",
        "mmf": "0.0135",
        "imfFunction": {"type": "sqrt", "base": "0.02", "factor": "0.000075"},
        "mmfFunction": {"type": "sqrt", "base": "0.0135", "factor": "0.0000375"},
        "subaccountId": None,
        "userId": 1,
    }


@routes.post("/api/v1/order")
async def place(request: web.Request) -> web.Response:
    """Place one order."""
    signed, body = await signed_body(request, "orderExecute")
    return web.json_response((await _place(request.app[EXCHANGE], signed, body)).wire())


@routes.post("/api/v1/orders")
async def place_batch(request: web.Request) -> web.Response:
    """Place several orders; each succeeds or fails for itself."""
    signed, body = await signed_body(request, "orderExecute")
    if not isinstance(body, list):
        raise BadRequest("parse request payload error: expected a list of orders")
    answers = []
    for item in body:
        try:
            order = await _place(request.app[EXCHANGE], signed, item)
            answers.append(order.wire() | {"operation": "Ok"})
        except Refusal as refusal:
            answers.append({"operation": "Err", "code": refusal.code, "message": refusal.message})
    return web.json_response(answers)


async def _place(exchange: Exchange, signed: Signed, body: Any) -> Order:
    wanted = parse_order(body)
    if exchange.taker_hold_ms and not wanted.post_only:
        await asyncio.sleep(exchange.taker_hold_ms / 1000)
    window_ms = 10**9 if exchange.window_check_on_arrival else signed.window_ms
    return exchange.engine.place(signed.account, wanted, signed_at_ms=signed.at_ms, window_ms=window_ms)


@routes.get("/api/v1/order")
async def order_query(request: web.Request) -> web.Response:
    """Return one resting order."""
    signed, query = signed_query(request, "orderQuery")
    return web.json_response(_find(request.app[EXCHANGE], signed.account, query).wire())


@routes.get("/api/v1/orders")
async def open_orders(request: web.Request) -> web.Response:
    """Return the open orders, as they are, or as they were when a stale-list fault is on."""
    signed, query = signed_query(request, "orderQueryAll")
    symbol = order_symbol(query) if "symbol" in query else None
    exchange = request.app[EXCHANGE]
    stale = _fault(request, "stale_list")
    if stale is None:
        found = exchange.engine.open_orders(signed.account, symbol)
    else:
        at_ms = exchange.now_ms() - stale.delay_ms
        found = exchange.engine.open_orders_at(signed.account, symbol, at_ms)
    return web.json_response([order.wire() for order in found])


@routes.delete("/api/v1/order")
async def cancel(request: web.Request) -> web.Response:
    """Cancel one order; 202 without a body when it happens later."""
    signed, body = await signed_body(request, "orderCancel")
    order = _find(request.app[EXCHANGE], signed.account, body)
    delay_ms = _cancel_delay_ms(request)
    if delay_ms is None:
        return web.json_response(request.app[EXCHANGE].engine.cancel(order).wire())
    _cancel_later(request.app[EXCHANGE], [order], delay_ms)
    return web.Response(status=202)


@routes.delete("/api/v1/orders")
async def cancel_all(request: web.Request) -> web.Response:
    """Cancel all orders of a symbol."""
    signed, body = await signed_body(request, "orderCancelAll")
    exchange = request.app[EXCHANGE]
    found = exchange.engine.open_orders(signed.account, order_symbol(body))
    delay_ms = _cancel_delay_ms(request)
    if delay_ms is not None:
        _cancel_later(exchange, found, delay_ms)
        return web.Response(status=202)
    return web.json_response([exchange.engine.cancel(order).wire() for order in found])


def _cancel_delay_ms(request: web.Request) -> int | None:
    rule = _fault(request, "cancel_202")
    return rule.delay_ms if rule else request.app[EXCHANGE].cancel_202_ms


def _cancel_later(exchange: Exchange, orders: list[Order], delay_ms: int) -> None:
    def cancel_what_rests() -> None:
        for order in orders:
            if order.rests:
                exchange.engine.cancel(order)

    asyncio.get_running_loop().call_later(delay_ms / 1000, cancel_what_rests)


def _find(exchange: Exchange, owner: Account, fields: Mapping[str, Any]) -> Order:
    order_id, client_id = order_id_of(fields), client_id_of(fields)
    if (order_id is None) == (client_id is None):
        raise Refusal("INVALID_CLIENT_REQUEST", "Must specify exactly one of `orderId` or `clientId`")
    return exchange.engine.find(owner, order_symbol(fields), order_id=order_id, client_id=client_id)


@routes.get("/wapi/v1/history/orders")
async def order_history(request: web.Request) -> web.Response:
    """Return past and present orders, newest first unless asked otherwise."""
    signed, query = signed_query(request, "orderHistoryQueryAll")
    rows = [
        order.history()
        for order in request.app[EXCHANGE].engine.orders
        if order.account is signed.account
        and query.get("symbol") in {None, order.wanted.market.symbol}
        and query.get("orderId") in {None, str(order.order_id)}
    ]
    return _page(query, rows)


@routes.get("/wapi/v1/history/fills")
async def fill_history(request: web.Request) -> web.Response:
    """Return the account's fills, newest first unless asked otherwise; `from` is inclusive, `to` is not."""
    signed, query = signed_query(request, "fillHistoryQueryAll")
    first, last = int(query.get("from", "0")), int(query.get("to", str(10**15)))
    rows = [
        fill.wire()
        for fill in request.app[EXCHANGE].engine.fills
        if fill.order.account is signed.account
        and query.get("symbol") in {None, fill.order.wanted.market.symbol}
        and query.get("orderId") in {None, str(fill.order.order_id)}
        and first <= fill.at_ms < last
    ]
    return _page(query, rows)


@routes.get("/wapi/v1/history/funding")
async def funding_history(request: web.Request) -> web.Response:
    """Return no funding payments."""
    _, query = signed_query(request, "fundingHistoryQueryAll")
    return _page(query, [])


def _page(query: Mapping[str, str], rows: list[dict[str, Any]]) -> web.Response:
    if query.get("sortDirection", "Desc") == "Desc":
        rows = rows[::-1]
    size = min(int(query.get("limit", "100")), 1000)
    offset = int(query.get("offset", "0"))
    return web.json_response(
        rows[offset : offset + size],
        headers={
            "X-PAGE-COUNT": str(-(-len(rows) // size)),
            "X-CURRENT-PAGE": str(offset // size + 1),
            "X-PAGE-SIZE": str(size),
            "X-TOTAL": str(len(rows)),
        },
    )

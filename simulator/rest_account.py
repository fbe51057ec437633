"""Signed endpoints: account, balances, margin, positions."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from aiohttp import web

from simulator.accounts import Account, Position
from simulator.checks import INITIAL_MARGIN
from simulator.errors import BadRequest, Refusal
from simulator.exchange import EXCHANGE, Exchange
from simulator.markets import MARKETS
from simulator.order_request import decimal_of, one_of
from simulator.orders import text
from simulator.signed_request import fits, signed_object, signed_query, symbol_of

routes = web.RouteTableDef()


@routes.get("/api/v1/account")
async def account(request: web.Request) -> web.Response:
    """Return fees (basis points) and switches."""
    owner = signed_query(request, "accountQuery")[0].account
    return web.json_response(
        {
            **owner.switches,
            "autoRealizePnl": True,
            "borrowLimit": "0",
            "futuresMakerFee": text(owner.perp_maker_bps),
            "futuresTakerFee": text(owner.perp_taker_bps),
            "leverageLimit": text(owner.leverage_limit),
            "limitOrders": len(request.app[EXCHANGE].engine.open_orders(owner)),
            "liquidating": False,
            "positionLimit": "100000",
            "spotMakerFee": text(owner.spot_maker_bps),
            "spotTakerFee": text(owner.spot_taker_bps),
            "triggerOrders": 0,
        }
    )


@routes.patch("/api/v1/account")
async def account_update(request: web.Request) -> web.Response:
    """Change switches and leverage limit; the answer has no body. Neither changes how orders are checked."""
    signed, body = await signed_object(request, "accountUpdate")
    owner = signed.account
    for name in owner.switches:
        if not isinstance(body.get(name, False), bool):
            raise BadRequest(f'parse request payload error: failed to parse "{name}": expected a boolean')
    limit = decimal_of(body, "leverageLimit")
    owner.switches |= {name: body[name] for name in owner.switches if name in body}
    if limit is not None:
        owner.leverage_limit = limit
    return web.Response()


@routes.get("/api/v1/account/limits/order")
async def order_limit(request: web.Request) -> web.Response:
    """Return the largest order that the funds cover, at `price` or else at the far touch."""
    signed, query = signed_query(request, "maxOrderQuantity")
    market = MARKETS[symbol_of(query)]
    side = one_of(query, "side", ("Bid", "Ask"))
    book = request.app[EXCHANGE].engine.books[market.symbol]
    price = decimal_of(query, "price") or (book.ask if side == "Bid" else book.bid)
    if price <= 0:
        raise Refusal("INVALID_PRICE", "There is no price to reckon with")
    owner = signed.account
    if market.perp:
        most = owner.available(market.quote) / (price * INITIAL_MARGIN)
    elif side == "Bid":
        most = owner.available(market.quote) / price
    else:
        most = owner.available(market.base)
    most = max(Decimal(0), most) // market.step * market.step
    return web.json_response({"maxOrderQuantity": text(most), "side": side, "symbol": market.symbol})


@routes.get("/api/v1/capital")
async def capital(request: web.Request) -> web.Response:
    """Return the balances; what open orders hold is locked."""
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
    exchange = request.app[EXCHANGE]
    total, free = owner.balances.get("USDC", Decimal(0)), owner.available("USDC")
    unrealized = _sum(_unrealized(exchange, symbol, held) for symbol, held in owner.positions.items())
    exposure = _sum(abs(held.net) * _mark(exchange, symbol) for symbol, held in owner.positions.items())
    equity = total + unrealized
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
            "imf": text(INITIAL_MARGIN),
            "unsettledEquity": "0",
            "liabilitiesValue": "0",
            "marginFraction": text(round(equity / exposure, 6)) if exposure else None,
            "mmf": "0.03",
            "netEquity": text(equity),
            "netEquityAvailable": text(free + unrealized - exposure * INITIAL_MARGIN),
            "netEquityLocked": text(total - free),
            "netExposureFutures": text(exposure),
            "pnlUnrealized": text(unrealized),
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
    found = [
        _position(exchange, signed.account, name, held)
        for name, held in signed.account.positions.items()
        if held.net != 0 and fits(query, name)
    ]
    if "symbol" in query and not found:
        raise Refusal("RESOURCE_NOT_FOUND", "Not Found", 404)
    return web.json_response(found)


def _mark(exchange: Exchange, symbol: str) -> Decimal:
    return exchange.engine.books[symbol].mid


def _unrealized(exchange: Exchange, symbol: str, held: Position) -> Decimal:
    return (_mark(exchange, symbol) - held.entry) * held.net


def _sum(values: Iterable[Decimal]) -> Decimal:
    return sum(values, Decimal(0))


def _position(exchange: Exchange, owner: Account, symbol: str, held: Position) -> dict[str, Any]:
    mark = _mark(exchange, symbol)
    margins = MARKETS[symbol].wire()
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
        "pnlUnrealized": text(_unrealized(exchange, symbol, held)),
        "cumulativeFundingPayment": "0",
        "cumulativeInterest": "0",
        "imf": margins["imfFunction"]["base"],
        "mmf": margins["mmfFunction"]["base"],
        "imfFunction": margins["imfFunction"],
        "mmfFunction": margins["mmfFunction"],
        "subaccountId": None,
        "userId": owner.user_id,
    }

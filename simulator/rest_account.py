"""Signed endpoints: account, balances, margin, positions."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from aiohttp import web

from simulator.accounts import Account, Position
from simulator.engine import Engine
from simulator.errors import Refusal
from simulator.exchange import EXCHANGE
from simulator.margin import largest_order, required, unrealized
from simulator.markets import MARKETS
from simulator.order_request import boolean_of, decimal_of, one_of
from simulator.orders import rounded, text
from simulator.signed_request import (
    fits,
    shown_as_at_ms,
    signed_object,
    signed_query,
    symbol_asked_for,
    symbol_of,
)

#: What the simulator takes as a leverage limit; the real exchange's bound was not verified.
LARGEST_LEVERAGE = 50

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
            "limitOrders": len(request.app[EXCHANGE].engine.resting.of_account(owner)),
            "liquidating": False,
            "positionLimit": "100000",
            "spotMakerFee": text(owner.spot_maker_bps),
            "spotTakerFee": text(owner.spot_taker_bps),
            "triggerOrders": 0,
        }
    )


@routes.patch("/api/v1/account")
async def account_update(request: web.Request) -> web.Response:
    """Change switches and leverage limit; the answer has no body. The limit decides the margin."""
    signed, body = await signed_object(request, "accountUpdate")
    owner = signed.account
    given = {name: boolean_of(body, name) for name in owner.switches}
    limit = decimal_of(body, "leverageLimit")
    if limit is not None and not 0 < limit <= LARGEST_LEVERAGE:
        raise Refusal(
            "MAX_LEVERAGE_REACHED", f"Leverage limit must be above 0 and at most {LARGEST_LEVERAGE}"
        )
    owner.switches |= {name: value for name, value in given.items() if value is not None}
    owner.leverage_limit = limit or owner.leverage_limit
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
    owner, buys, reduces = signed.account, side == "Bid", query.get("reduceOnly") == "true"
    net = owner.net(market.symbol)
    if reduces:
        most = abs(net) if net != 0 and (net > 0) != buys else Decimal(0)
    elif market.perp:
        engine = request.app[EXCHANGE].engine
        orders = engine.resting.of_account(owner)
        most = largest_order(owner, market, buys=buys, price=price, orders=orders, marks=engine.mark)
    elif buys:
        most = owner.available(market.quote) / price
    else:
        most = owner.available(market.base)
    return web.json_response(
        {
            "symbol": market.symbol,
            "side": side,
            "maxOrderQuantity": text(market.in_steps(max(Decimal(0), most))),
            "price": query.get("price"),
            "reduceOnly": reduces,
            "autoBorrow": None,
            "autoBorrowRepay": None,
            "autoLendRedeem": None,
        }
    )


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
    engine = request.app[EXCHANGE].engine
    total, free = owner.balances.get("USDC", Decimal(0)), owner.available("USDC")
    profit = unrealized(owner, engine.mark)
    held = required(owner, engine.resting.of_account(owner), engine.mark)
    exposure = sum((abs(p.net) * engine.mark(symbol) for symbol, p in owner.positions.items()), Decimal(0))
    net_equity = total + profit
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
            "imf": text(rounded(1 / owner.leverage_limit)),
            "unsettledEquity": "0",
            "liabilitiesValue": "0",
            "marginFraction": text(rounded(net_equity / exposure)) if exposure else None,
            "mmf": text(rounded(1 / owner.leverage_limit / 2)),
            "netEquity": text(rounded(net_equity)),
            "netEquityAvailable": text(rounded(free + profit - held)),
            "netEquityLocked": text(rounded(total - free + held)),
            "netExposureFutures": text(rounded(exposure)),
            "pnlUnrealized": text(rounded(profit)),
        }
    )


@routes.get("/api/v1/borrowLend/positions")
async def borrow_lend(request: web.Request) -> web.Response:
    """Return no lending."""
    signed_query(request, "borrowLendPositionQuery")
    return web.json_response([])


@routes.get("/api/v1/position")
async def position(request: web.Request) -> web.Response:
    """Return the positions, at today's marks; 404 when a symbol is given and there is none."""
    signed, query = signed_query(request, "positionQuery")
    symbol_asked_for(query)
    engine = request.app[EXCHANGE].engine
    at_ms = shown_as_at_ms(request, "late_position")
    positions = {
        name: held if at_ms is None else held.as_at(at_ms) for name, held in signed.account.positions.items()
    }
    found = [
        _position(engine, signed.account, name, held)
        for name, held in positions.items()
        if held.net != 0 and fits(query, name)
    ]
    if "symbol" in query and not found:
        raise Refusal("RESOURCE_NOT_FOUND", "Not Found", 404)
    return web.json_response(found)


def _position(engine: Engine, owner: Account, symbol: str, held: Position) -> dict[str, Any]:
    mark = engine.mark(symbol)
    margins = MARKETS[symbol].wire()
    return {
        "symbol": symbol,
        "positionId": held.position_id,
        "netQuantity": text(held.net),
        "entryPrice": text(rounded(held.entry)),
        "breakEvenPrice": text(rounded(held.entry)),
        "markPrice": text(mark),
        "estLiquidationPrice": "0",
        "netCost": text(rounded(held.net * held.entry)),
        "netExposureQuantity": text(abs(held.net)),
        "netExposureNotional": text(abs(held.net) * mark),
        "pnlRealized": text(rounded(held.realized)),
        "pnlUnrealized": text(rounded((mark - held.entry) * held.net)),
        "cumulativeFundingPayment": text(held.funding),
        "cumulativeInterest": "0",
        "imf": margins["imfFunction"]["base"],
        "mmf": margins["mmfFunction"]["base"],
        "imfFunction": margins["imfFunction"],
        "mmfFunction": margins["mmfFunction"],
        "subaccountId": None,
        "userId": owner.user_id,
    }

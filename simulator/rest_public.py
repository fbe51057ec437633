"""Public endpoints: status, markets, books, trades, candles."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from simulator.book import OutsideBook, Trade
from simulator.errors import BadRequest, Refusal
from simulator.exchange import EXCHANGE
from simulator.funding import QUIET_RATE, next_hour_ms
from simulator.markets import MARKETS, Market
from simulator.orders import text
from simulator.published import INTERVALS_S, Figures, candles, figures, levels
from simulator.signed_request import integer_of

DEPTH_LIMITS = {"5", "10", "20", "50", "100", "500", "1000"}
routes = web.RouteTableDef()


def market_of(request: web.Request) -> Market:
    """Return the market of the query's symbol. Raises `Refusal`."""
    symbol = request.query.get("symbol")
    if symbol is None:
        raise BadRequest("failed to parse parameter `symbol`: the parameter is required")
    if symbol not in MARKETS:
        raise Refusal("INVALID_CLIENT_REQUEST", "Invalid market symbol")
    return MARKETS[symbol]


def limit_of(request: web.Request, *, default: int, most: int) -> int:
    """Return the query's limit. Raises `BadRequest`."""
    given = request.query.get("limit", str(default))
    if not (given.isascii() and given.isdigit()) or not 0 < int(given) <= most:
        raise BadRequest(f"failed to parse parameter `limit`: expected 1 to {most}")
    return int(given)


@routes.get("/api/v1/status")
async def status(_: web.Request) -> web.Response:
    """Tell that the exchange works."""
    return web.json_response({"status": "Ok", "message": None})


@routes.get("/api/v1/ping")
async def ping(_: web.Request) -> web.Response:
    """Answer ``pong``."""
    return web.Response(text="pong")


@routes.get("/api/v1/time")
async def time_(request: web.Request) -> web.Response:
    """Return the clock, ms, as bare text."""
    return web.Response(text=str(request.app[EXCHANGE].now_ms()))


@routes.get("/api/v1/assets")
@routes.get("/api/v1/securities")
@routes.get("/api/v1/collateral")
@routes.get("/api/v1/wallets")
@routes.get("/api/v1/borrowLend/markets")
async def nothing(_: web.Request) -> web.Response:
    """Return an empty list: nothing a market maker needs."""
    return web.json_response([])


@routes.get("/api/v1/markets")
async def markets(request: web.Request) -> web.Response:
    """Return every market, or those of the types asked for."""
    types = set(request.query.getall("marketType", ["SPOT", "PERP"]))
    found = [market.wire() for market in MARKETS.values()]
    return web.json_response([market for market in found if market["marketType"] in types])


@routes.get("/api/v1/market")
async def market(request: web.Request) -> web.Response:
    """Return one market."""
    return web.json_response(market_of(request).wire())


@routes.get("/api/v1/ticker")
async def ticker(request: web.Request) -> web.Response:
    """Return the day's figures; 204 before the first trade."""
    shown = _ticker(request.app[EXCHANGE].engine.books[market_of(request).symbol])
    return web.json_response(shown) if shown else web.Response(status=204)


@routes.get("/api/v1/tickers")
async def tickers(request: web.Request) -> web.Response:
    """Return the day's figures of every market that traded."""
    books = request.app[EXCHANGE].engine.books.values()
    return web.json_response([shown for book in books if (shown := _ticker(book))])


def _ticker(book: OutsideBook) -> dict[str, Any] | None:
    day = figures(book.trades)
    if day is None:
        return None
    change = day.last - day.first
    return {
        "symbol": book.market.symbol,
        "firstPrice": text(day.first),
        "lastPrice": text(day.last),
        "high": text(day.high),
        "low": text(day.low),
        "priceChange": text(change),
        "priceChangePercent": text(round(change / day.first, 6)),
        "volume": text(day.volume),
        "quoteVolume": text(day.quote_volume),
        "trades": str(day.trades),
    }


@routes.get("/api/v1/depth")
async def depth(request: web.Request) -> web.Response:
    """Return the book; both sides ascend, so the best bid is the last one."""
    limit = request.query.get("limit", "1000")
    if limit not in DEPTH_LIMITS:
        raise BadRequest(
            'failed to parse parameter `limit`: failed to parse "DepthLimit": '
            "Expect a valid enumeration value."
        )
    symbol = market_of(request).symbol
    exchange = request.app[EXCHANGE]
    exchange.streams.books.settle(symbol)
    bids = sorted(levels(exchange.engine, symbol, bids=True).items(), reverse=True)[: int(limit)]
    asks = sorted(levels(exchange.engine, symbol, bids=False).items())[: int(limit)]
    book = exchange.engine.books[symbol]
    return web.json_response(
        {
            "asks": [[text(price), text(quantity)] for price, quantity in asks],
            "bids": [[text(price), text(quantity)] for price, quantity in reversed(bids)],
            "lastUpdateId": str(book.update_id),
            "timestamp": exchange.now_ms() * 1000,
        }
    )


@routes.get("/api/v1/trades")
@routes.get("/api/v1/trades/history")
async def trades(request: web.Request) -> web.Response:
    """Return public trades, newest first."""
    book = request.app[EXCHANGE].engine.books[market_of(request).symbol]
    newest = list(book.trades)[::-1]
    offset = integer_of(request.query, "offset", 0)
    chosen = newest[offset : offset + limit_of(request, default=100, most=1000)]
    return web.json_response([_trade(trade) for trade in chosen])


def _trade(trade: Trade) -> dict[str, Any]:
    return {
        "id": trade.trade_id,
        "price": text(trade.price),
        "quantity": text(trade.quantity),
        "quoteQuantity": text(trade.price * trade.quantity),
        "timestamp": trade.at_ms,
        "isBuyerMaker": trade.buyer_is_maker,
    }


@routes.get("/api/v1/klines")
async def klines(request: web.Request) -> web.Response:
    """Return candles made from the kept trades; `startTime` and `endTime` are seconds."""
    interval_s = INTERVALS_S.get(request.query.get("interval", ""))
    if interval_s is None or "startTime" not in request.query:
        raise BadRequest("failed to parse parameter `interval` or `startTime`: both are required")
    start_s = integer_of(request.query, "startTime", 0)
    exchange = request.app[EXCHANGE]
    end_s = integer_of(request.query, "endTime", exchange.now_ms() // 1000)
    book = exchange.engine.books[market_of(request).symbol]
    shown = candles(book, interval_s, start_s, end_s)
    return web.json_response([_candle(at_s, interval_s, candle) for at_s, candle in shown.items()])


def _candle(start_s: int, interval_s: int, shown: Figures) -> dict[str, str]:
    def naive(at_s: int) -> str:
        return datetime.fromtimestamp(at_s, tz=UTC).strftime("%Y-%m-%d %H:%M:%S")

    return {
        "start": naive(start_s),
        "end": naive(start_s + interval_s),
        "open": text(shown.first),
        "high": text(shown.high),
        "low": text(shown.low),
        "close": text(shown.last),
        "volume": text(shown.volume),
        "quoteVolume": text(shown.quote_volume),
        "trades": str(shown.trades),
    }


@routes.get("/api/v1/markPrices")
async def mark_prices(request: web.Request) -> web.Response:
    """Return mark prices of the perpetuals: the middle of the touch."""
    symbol = request.query.get("symbol")
    if symbol is not None and symbol not in MARKETS:
        raise Refusal("INVALID_CLIENT_REQUEST", "Symbol not found")
    exchange = request.app[EXCHANGE]
    return web.json_response(
        [
            {
                "symbol": name,
                "markPrice": text(book.mid),
                "indexPrice": text(book.mid),
                "fundingRate": text(QUIET_RATE),
                "nextFundingTimestamp": next_hour_ms(exchange.now_ms()),
            }
            for name, book in exchange.engine.books.items()
            if book.market.perp and symbol in {None, name}
        ]
    )


@routes.get("/api/v1/openInterest")
async def open_interest(request: web.Request) -> web.Response:
    """Return no open interest beyond ours: zero."""
    at_ms = request.app[EXCHANGE].now_ms()
    symbol = request.query.get("symbol")
    return web.json_response(
        [
            {"symbol": name, "openInterest": "0", "timestamp": at_ms}
            for name, market in MARKETS.items()
            if market.perp and symbol in {None, name}
        ]
    )


@routes.get("/api/v1/fundingRates")
async def funding_rates(request: web.Request) -> web.Response:
    """Return one quiet funding rate: the interval in progress."""
    symbol = market_of(request).symbol
    end_s = next_hour_ms(request.app[EXCHANGE].now_ms()) // 1000
    ends = datetime.fromtimestamp(end_s, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return web.json_response(
        [{"fundingRate": text(QUIET_RATE), "intervalEndTimestamp": ends, "symbol": symbol}],
        headers={"X-PAGE-COUNT": "1", "X-CURRENT-PAGE": "1", "X-PAGE-SIZE": "100", "X-TOTAL": "1"},
    )

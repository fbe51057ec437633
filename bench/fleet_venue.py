"""An exchange for a fleet: many symbols and accounts, orders that rest and are never filled.

    python bench/fleet_venue.py --port-file FILE [--symbols N]

The simulated exchange has six markets and a matching engine. Here orders are only kept, so that a thousand
instances find what they placed, whatever they ask. Every book changes evenly, `CHANGES_PER_S` times a second
and away from its touch: it is always fresh and never a reason to quote anew. Signatures are not checked.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import signal
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from aiohttp import web

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.feed_market import Market, symbol_name  # noqa: E402 - the checkout is put on the path first

#: Of each book: a streamed book that is older than a second is not used.
CHANGES_PER_S = 2.5
TURN_S = 0.02
ORDER_STREAM = "account.orderUpdate"
EVENTS = {"New": "orderAccepted", "Cancelled": "orderCancelled"}
routes = web.RouteTableDef()
Row = dict[str, Any]


class Listener:
    """A connection, with what it has subscribed to."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self.socket = socket
        self.streams: set[str] = set()
        #: Whose orders it hears of.
        self.api_key = ""


class Venue:
    """The markets, the orders by account and symbol, and who listens."""

    def __init__(self, symbols: int) -> None:
        names = [symbol_name(2 * number) for number in range(symbols)]
        self.markets = {name: Market(symbol=name, random=random.Random(name)) for name in names}
        self.listeners: set[Listener] = set()
        #: By account, symbol and order id.
        self.orders: defaultdict[str, defaultdict[str, dict[str, Row]]] = defaultdict(
            lambda: defaultdict(dict)
        )
        self.requests = 0
        self._order_ids = itertools.count(1)

    async def talk(self) -> None:
        """Change every book in turn, for ever."""
        gap_s = 1 / (CHANGES_PER_S * len(self.markets))
        due_s = time.monotonic()
        for market in itertools.cycle(self.markets.values()):
            due_s = max(due_s + gap_s, time.monotonic() - 1)
            await self._tell(f"depth.{market.symbol}", market.change(_now_us()))
            if due_s - time.monotonic() > TURN_S:
                await asyncio.sleep(due_s - time.monotonic())

    async def place(self, api_key: str, wanted: Row) -> Row:
        """Let an order rest; return it."""
        row = {
            **wanted,
            "id": str(next(self._order_ids)),
            "executedQuantity": "0",
            "executedQuoteQuantity": "0",
            "status": "New",
            "createdAt": _now_us() // 1000,
        }
        self.orders[api_key][wanted["symbol"]][row["id"]] = row
        await self._tell_of_order(api_key, row)
        return row

    async def cancel(self, api_key: str, symbol: str, order_id: str) -> Row | None:
        """Take an order away; None where it does not rest."""
        row = self.orders[api_key][symbol].pop(order_id, None)
        if row is not None:
            row["status"] = "Cancelled"
            await self._tell_of_order(api_key, row)
        return row

    async def _tell_of_order(self, api_key: str, row: Row) -> None:
        at_us = _now_us()
        data = {
            "e": EVENTS[row["status"]],
            "E": at_us,
            "T": at_us,
            "O": "USER",
            "s": row["symbol"],
            "S": row["side"],
            "o": "LIMIT",
            "f": "GTC",
            "q": row["quantity"],
            "p": row["price"],
            "X": row["status"],
            "i": row["id"],
            "c": row["clientId"],
            "t": None,
            "z": "0",
            "Z": "0",
            "V": "RejectTaker",
            "r": False,
            "y": True,
        }
        await self._tell(ORDER_STREAM, data, api_key)

    async def _tell(self, stream: str, data: Row, api_key: str = "") -> None:
        text = json.dumps({"stream": stream, "data": data}, separators=(",", ":"))
        for listener in tuple(self.listeners):
            if stream in listener.streams and api_key in {"", listener.api_key}:
                await listener.socket.send_str(text)


VENUE: web.AppKey[Venue] = web.AppKey("venue", Venue)


def _now_us() -> int:
    return time.time_ns() // 1000


def _at(request: web.Request) -> tuple[Venue, str]:
    """Return the exchange, and as whom it is asked; the question is counted."""
    venue = request.app[VENUE]
    venue.requests += 1
    return venue, request.headers.get("X-API-Key", "")


@routes.get("/ws")
async def stream(request: web.Request) -> web.StreamResponse:
    """Serve a connection."""
    listeners = request.app[VENUE].listeners
    socket = web.WebSocketResponse(compress=False)
    await socket.prepare(request)
    listener = Listener(socket)
    listeners.add(listener)
    try:
        async for message in socket:
            frame = json.loads(message.data)
            if ORDER_STREAM in frame["params"]:
                listener.api_key = frame["signature"][0]
            if frame["method"] == "SUBSCRIBE":
                listener.streams.update(frame["params"])
            else:
                listener.streams.difference_update(frame["params"])
    finally:
        listeners.discard(listener)
    return socket


@routes.get("/api/v1/time")
async def tell_time(_: web.Request) -> web.Response:
    """Return the clock."""
    return web.Response(text=str(_now_us() // 1000))


@routes.get("/api/v1/market")
async def market(request: web.Request) -> web.Response:
    """Return a market's rules."""
    venue, _ = _at(request)
    return web.json_response(venue.markets[request.query["symbol"]].rules())


@routes.get("/api/v1/depth")
async def depth(request: web.Request) -> web.Response:
    """Return a book."""
    venue, _ = _at(request)
    return web.json_response(venue.markets[request.query["symbol"]].snapshot(_now_us()))


@routes.get("/api/v1/capital")
async def capital(request: web.Request) -> web.Response:
    """Return what the account holds in the markets it has asked about, more than its orders could need."""
    venue, api_key = _at(request)
    assets = ("USDC", *(name.split("_")[0] for name in venue.orders[api_key]))
    held = {"available": "1000000", "locked": "0", "staked": "0"}
    return web.json_response(dict.fromkeys(assets, held))


@routes.get("/api/v1/account")
async def account(request: web.Request) -> web.Response:
    """Return the account's fees."""
    _at(request)
    fees = {"spotMakerFee": "2", "spotTakerFee": "5", "futuresMakerFee": "2", "futuresTakerFee": "5"}
    return web.json_response({**fees, "leverageLimit": "10"})


@routes.get("/api/v1/orders")
async def orders(request: web.Request) -> web.Response:
    """Return the orders that rest: of the symbol asked for, or all of the account."""
    venue, api_key = _at(request)
    mine, wanted = venue.orders[api_key], request.query.get("symbol")
    symbols = [wanted] if wanted else list(mine)
    return web.json_response([row for symbol in symbols for row in mine[symbol].values()])


@routes.get("/api/v1/order")
async def order(request: web.Request) -> web.Response:
    """Return a resting order by its client order id."""
    venue, api_key = _at(request)
    for row in venue.orders[api_key][request.query["symbol"]].values():
        if str(row["clientId"]) == request.query.get("clientId"):
            return web.json_response(row)
    return _not_found()


@routes.post("/api/v1/order")
async def place(request: web.Request) -> web.Response:
    """Let an order rest."""
    venue, api_key = _at(request)
    return web.json_response(await venue.place(api_key, await request.json()))


@routes.post("/api/v1/orders")
async def place_several(request: web.Request) -> web.Response:
    """Let several orders rest."""
    venue, api_key = _at(request)
    return web.json_response([await venue.place(api_key, wanted) for wanted in await request.json()])


@routes.delete("/api/v1/order")
async def cancel(request: web.Request) -> web.Response:
    """Take an order away."""
    venue, api_key = _at(request)
    wanted = await request.json()
    row = await venue.cancel(api_key, wanted["symbol"], wanted["orderId"])
    return _not_found() if row is None else web.json_response(row)


@routes.get("/{path:(api|wapi)/.*}")
async def nothing(request: web.Request) -> web.Response:
    """Return an empty list: no fill, no position, no history."""
    _at(request)
    return web.json_response([])


@routes.get("/fleet")
async def figures(request: web.Request) -> web.Response:
    """Return how many requests there were, clocks not counted, and how many orders rest."""
    venue = request.app[VENUE]
    resting = sum(len(rows) for symbols in venue.orders.values() for rows in symbols.values())
    return web.json_response({"requests": venue.requests, "orders": resting})


def _not_found() -> web.Response:
    return web.json_response({"code": "RESOURCE_NOT_FOUND", "message": "Order not found"}, status=404)


async def _serve(options: argparse.Namespace) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    app = web.Application()
    app[VENUE] = venue = Venue(options.symbols)
    app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    talking = asyncio.create_task(venue.talk())
    draft = options.port_file.with_suffix(".tmp")
    draft.write_text(str(runner.addresses[0][1]), encoding="utf-8")
    draft.replace(options.port_file)
    await ended.wait()
    talking.cancel()
    await runner.cleanup()


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port-file", type=Path, required=True)
    parser.add_argument("--symbols", type=int, default=100)
    asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()

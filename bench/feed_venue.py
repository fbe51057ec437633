"""An exchange that only talks: what a feed needs of one, many symbols, at a rate that is asked for.

    python bench/feed_venue.py --port-file FILE [--symbols N]

Books change at random moments (a Poisson process for each symbol), three levels at a time; tickers and, for
perpetuals, mark prices come once a second, orders of the account are accepted, and cancelled or filled. It
checks no signature and trades nothing. `POST /load/start` begins, `GET /load/sent` tells what was sent.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import json
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aiohttp import web

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.feed_market import Market, symbol_name  # noqa: E402 - the checkout is put on the path first

routes = web.RouteTableDef()

#: Of the orders, those that are filled instead of cancelled.
FILLED_PART = 0.2
#: Messages that come due within so long are sent together.
TURN_S = 0.002


class Venue:
    """The markets, one connection that listens, and what was sent over it."""

    def __init__(self, symbols: int, seed: int = 1) -> None:
        self._random = random.Random(seed)
        names = [symbol_name(number) for number in range(symbols)]
        self.markets = {name: Market(symbol=name, random=random.Random(f"{seed} {name}")) for name in names}
        self.socket: web.WebSocketResponse | None = None
        self.subscribed: set[str] = set()
        self.sent = 0
        #: By symbol: when its book changed, ms since the epoch.
        self.changed_ms: dict[str, list[int]] = {name: [] for name in names}
        self._orders = 0
        self._task: asyncio.Task[None] | None = None

    def start(self, depth_per_s: float, orders_per_s: float, owners: list[tuple[str, int]]) -> None:
        """Talk at these rates from now on: book changes of each symbol, order events of all of them."""
        if self._task is not None:
            self._task.cancel()
        self.sent, self.changed_ms = 0, {name: [] for name in self.markets}
        self._task = asyncio.create_task(self._talk(depth_per_s, orders_per_s, owners))

    async def _talk(self, depth_per_s: float, orders_per_s: float, owners: list[tuple[str, int]]) -> None:
        now_s = time.monotonic()
        due = [(now_s + self._random.random(), "figures", name) for name in self.markets]
        due += [(now_s + self._random.random() / depth_per_s, "depth", name) for name in self.markets]
        if owners:
            due.append((now_s, "order", ""))
        heapq.heapify(due)
        orders = self._order_events(owners)
        gaps_s = {"depth": 1 / depth_per_s, "order": 1 / orders_per_s}
        while True:
            now_s = time.monotonic()
            while due[0][0] <= now_s:
                at_s, kind, name = heapq.heappop(due)
                if kind == "figures":
                    await self._send_figures(self.markets[name])
                elif kind == "depth":
                    await self._send_change(self.markets[name])
                else:
                    await self._send("account.orderUpdate", next(orders))
                gap_s = 1.0 if kind == "figures" else self._random.expovariate(1 / gaps_s[kind])
                heapq.heappush(due, (at_s + gap_s, kind, name))
            await asyncio.sleep(TURN_S)

    async def _send_figures(self, market: Market) -> None:
        day = {"o": "99", "c": "100.5", "h": "102", "l": "98", "v": "215.8", "V": "21584.3", "n": 32259}
        await self._send(
            f"ticker.{market.symbol}", {"e": "ticker", "E": _now_us(), "s": market.symbol, **day}
        )
        if market.is_perp:
            at_us = _now_us()
            data = {"e": "markPrice", "E": at_us, "T": at_us, "s": market.symbol, "p": "100", "i": "100"}
            await self._send(f"markPrice.{market.symbol}", {**data, "f": "0.0000125", "n": 1791046800000})

    async def _send_change(self, market: Market) -> None:
        at_us = _now_us()
        self.changed_ms[market.symbol].append(at_us // 1000)
        await self._send(f"depth.{market.symbol}", market.change(at_us))

    def _order_events(self, owners: list[tuple[str, int]]) -> Iterator[dict[str, Any]]:
        """Yield what happens to orders of the instances, one by turns: accepted, then its end."""
        while True:
            symbol, slot = self._random.choice(owners)
            self._orders += 1
            order = {
                "O": "USER",
                "s": symbol,
                "S": "Bid",
                "o": "LIMIT",
                "f": "GTC",
                "q": "1.00",
                "p": "99.90",
                "i": str(5_000_000 + self._orders),
                "c": (slot << 20) | self._orders % 1024,
                "V": "RejectTaker",
                "r": False,
                "y": True,
            }
            yield {"e": "orderAccepted", **_stamps(), **order, "X": "New", "t": None, "z": "0", "Z": "0"}
            if self._random.random() >= FILLED_PART:
                yield {"e": "orderCancelled", **_stamps(), **order, "X": "Cancelled", "z": "0", "Z": "0"}
                continue
            last = {"t": self._orders, "l": "1.00", "L": "99.90", "m": True, "n": "0.01", "N": "USDC"}
            yield {"e": "orderFill", **_stamps(), **order, **last, "X": "Filled", "z": "1.00", "Z": "99.90"}

    async def _send(self, stream: str, data: dict[str, Any]) -> None:
        socket = self.socket
        if socket is None or socket.closed or stream not in self.subscribed:
            return
        self.sent += 1
        await socket.send_str(json.dumps({"stream": stream, "data": data}, separators=(",", ":")))


VENUE: web.AppKey[Venue] = web.AppKey("venue", Venue)


def _now_us() -> int:
    return time.time_ns() // 1000


def _stamps() -> dict[str, int]:
    at_us = _now_us()
    return {"E": at_us, "T": at_us}


@routes.get("/ws")
async def stream(request: web.Request) -> web.StreamResponse:
    """Serve the connection; a new one takes the place of the last."""
    venue = request.app[VENUE]
    socket = web.WebSocketResponse(compress=False)
    await socket.prepare(request)
    venue.socket, venue.subscribed = socket, set()
    async for message in socket:
        frame = json.loads(message.data)
        change = (
            venue.subscribed.update if frame["method"] == "SUBSCRIBE" else venue.subscribed.difference_update
        )
        change(frame["params"])
    return socket


@routes.get("/api/v1/time")
async def tell_time(request: web.Request) -> web.Response:
    """Return the clock."""
    return web.Response(text=str(_now_us() // 1000))


@routes.get("/api/v1/market")
async def market(request: web.Request) -> web.Response:
    """Return a market's rules."""
    return web.json_response(request.app[VENUE].markets[request.query["symbol"]].rules())


@routes.get("/api/v1/depth")
async def depth(request: web.Request) -> web.Response:
    """Return a book."""
    return web.json_response(request.app[VENUE].markets[request.query["symbol"]].snapshot(_now_us()))


@routes.get("/api/v1/capital")
async def capital(request: web.Request) -> web.Response:
    """Return what the account holds."""
    return web.json_response({"USDC": {"available": "1000000", "locked": "0", "staked": "0"}})


@routes.get("/{path:(api|wapi)/.*}")
async def nothing(request: web.Request) -> web.Response:
    """Return an empty list: no open order, no position, no history."""
    return web.json_response([])


@routes.post("/load/start")
async def start(request: web.Request) -> web.Response:
    """Begin to talk: `{"depth_per_s", "orders_per_s", "owners": [[symbol, slot], …]}`."""
    body = await request.json()
    owners = [(str(symbol), int(slot)) for symbol, slot in body["owners"]]
    request.app[VENUE].start(float(body["depth_per_s"]), float(body["orders_per_s"]), owners)
    return web.json_response({})


@routes.get("/load/sent")
async def sent(request: web.Request) -> web.Response:
    """Return how many messages were sent since the start, and when the books changed."""
    venue = request.app[VENUE]
    return web.json_response({"sent": venue.sent, "changed_ms": venue.changed_ms})


async def _serve(options: argparse.Namespace) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    app = web.Application()
    app[VENUE] = Venue(options.symbols)
    app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    draft = options.port_file.with_suffix(".tmp")
    draft.write_text(str(runner.addresses[0][1]), encoding="utf-8")
    draft.replace(options.port_file)
    await ended.wait()
    await runner.cleanup()


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port-file", type=Path, required=True)
    parser.add_argument("--symbols", type=int, default=20)
    asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()

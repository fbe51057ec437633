"""A small exchange behind the real adapter's HTTP: it works, but for the one answer that a test spoils."""

from __future__ import annotations

import io
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

TICK = STEP = Decimal("0.01")

#: The answers that can be spoiled.
READS = ("time", "market", "depth", "open orders", "order history", "fills", "position", "balances", "find")
WRITES = ("place", "cancel")

#: What an answer about an order looks like; `@…` is filled in when it is known.
ORDER_TEMPLATE: dict[str, Any] = {
    "orderType": "Limit",
    "id": "@id",
    "clientId": "@clientId",
    "symbol": "@symbol",
    "side": "@side",
    "price": "@price",
    "quantity": "@quantity",
    "executedQuantity": "@executedQuantity",
    "status": "@status",
    "timeInForce": "GTC",
    "createdAt": "@createdAt",
}
CLOSED = ("Cancelled", "Filled", "Expired")


@dataclass
class Spoil:
    """One answer that is not what it should be; it is used up by the first request that fits."""

    endpoint: str
    status: int
    #: With places to be filled in: the time, and of an order what `ORDER_TEMPLATE` names.
    body: bytes
    is_used: bool = False


@dataclass
class SmallExchange:
    """One market, one account. Every placement that it got is in `placed`, as it came."""

    symbol: str
    mid: Decimal
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)
    trades: list[dict[str, Any]] = field(default_factory=list)
    placed: list[dict[str, Any]] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    spoil: Spoil | None = None
    most_resting: dict[str, Decimal] = field(default_factory=lambda: {"Bid": Decimal(0), "Ask": Decimal(0)})

    def __post_init__(self) -> None:
        self._lock = threading.RLock()

    @property
    def is_perp(self) -> bool:
        return self.symbol.endswith("_PERP")

    @property
    def resting(self) -> list[dict[str, Any]]:
        return [order for order in self.orders.values() if order["status"] not in CLOSED]

    @property
    def net(self) -> Decimal:
        return sum(
            (Decimal(trade["quantity"]) * (1 if trade["side"] == "Bid" else -1) for trade in self.trades),
            Decimal(0),
        )

    def hit(self, order: dict[str, Any], part: Decimal) -> None:
        """Let others trade with a part of a resting order."""
        with self._lock:
            quantity = (Decimal(order["quantity"]) * part).quantize(STEP)
            executed = Decimal(order["executedQuantity"]) + quantity
            if quantity <= 0 or executed > Decimal(order["quantity"]):
                return
            order["executedQuantity"] = str(executed)
            order["status"] = "Filled" if executed == Decimal(order["quantity"]) else "PartiallyFilled"
            self._trade(order, quantity)

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, bytes]:
        """Do what a request asks for and return status and body, spoiled where that is due."""
        with self._lock:
            endpoint, status, document = self._do(method, path, query, body)
            right = b"" if document is None else json.dumps(document).encode()
            if self.spoil is None or self.spoil.is_used or self.spoil.endpoint != endpoint:
                return status, right
            self.spoil.is_used = True
            if endpoint not in WRITES:
                return self.spoil.status, with_times(self.spoil.body, now_ms())
            first, *others = document if isinstance(document, list) else [document]
            spoiled = filled_in(self.spoil.body, first)
            if isinstance(document, list) and others:
                spoiled = (
                    b"[" + b",".join([spoiled, *(json.dumps(other).encode() for other in others)]) + b"]"
                )
            return self.spoil.status, spoiled

    def _do(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[str, int, Any]:
        if method == "POST":
            accepted = [self._accept(order) for order in (body if isinstance(body, list) else [body])]
            return "place", 200, accepted if isinstance(body, list) else accepted[0]
        if method == "DELETE":
            return "cancel", *self._cancel(str(body["orderId"]))
        if path == "/api/v1/order":
            found = [o for o in self.resting if str(o["clientId"]) == query["clientId"]]
            return ("find", 200, found[0]) if found else ("find", 404, NOT_FOUND)
        endpoint, read = {
            "/api/v1/time": ("time", now_ms),
            "/api/v1/market": ("market", self.market),
            "/api/v1/depth": ("depth", self.depth),
            "/api/v1/orders": ("open orders", lambda: self.resting),
            "/wapi/v1/history/orders": ("order history", lambda: self.history(query)),
            "/wapi/v1/history/fills": ("fills", lambda: self.fills(query)),
            "/api/v1/position": ("position", self.position),
            "/api/v1/capital": ("balances", self.balances),
        }[path]
        return endpoint, 200, read()

    def documents(self) -> dict[str, Any]:
        """Return what the exchange would answer now to each read, with places for the times."""
        documents = {
            "time": now_ms(),
            "market": self.market(),
            "depth": self.depth(),
            "open orders": self.resting,
            "find": self.resting[0] if self.resting else NOT_FOUND,
            "order history": self.history({}),
            "fills": self.fills({}),
            "position": self.position(),
            "balances": self.balances(),
        }
        return {endpoint: without_times(document) for endpoint, document in documents.items()}

    def market(self) -> dict[str, Any]:
        kind = "PERP" if self.is_perp else "SPOT"
        base = self.symbol.split("_")[0]
        price = {"minPrice": "0.01", "maxPrice": None, "tickSize": str(TICK)}
        quantity = {"minQuantity": "0.01", "maxQuantity": None, "stepSize": str(STEP)}
        return {
            "symbol": self.symbol,
            "baseSymbol": base,
            "quoteSymbol": "USDC",
            "marketType": kind,
            "filters": {"price": price, "quantity": quantity},
        }

    def depth(self) -> dict[str, Any]:
        levels = range(5, 0, -1)
        return {
            "bids": [[str(self.mid - TICK * n), "50"] for n in levels],
            "asks": [[str(self.mid + TICK * n), "50"] for n in reversed(levels)],
            "lastUpdateId": "7",
            "timestamp": now_ms() * 1000,
        }

    def history(self, query: dict[str, str]) -> list[dict[str, Any]]:
        wanted = query.get("orderId")
        found = [o for o in self.orders.values() if wanted in {None, o["id"]} and o["status"] in CLOSED]
        return [order | {"createdAt": iso(order["createdAt"])} for order in reversed(found)]

    def fills(self, query: dict[str, str]) -> list[dict[str, Any]]:
        since_ms = int(query.get("from", "0"))
        return [
            {key: value for key, value in trade.items() if key != "at_ms"}
            for trade in self.trades
            if trade["at_ms"] >= since_ms
        ]

    def position(self) -> list[dict[str, Any]]:
        numbers = {"netQuantity": self.net, "entryPrice": self.mid, "markPrice": self.mid, "pnlUnrealized": 0}
        return [{"symbol": self.symbol} | {name: str(number) for name, number in numbers.items()}]

    def balances(self) -> dict[str, Any]:
        base = self.symbol.split("_")[0]
        return {asset: {"available": "100000", "locked": "0", "staked": "0"} for asset in (base, "USDC")}

    def _accept(self, body: dict[str, Any]) -> dict[str, Any]:
        self.placed.append(body)
        order = {
            "orderType": "Limit",
            "id": str(5_000_000_000 + len(self.orders)),
            "clientId": body["clientId"],
            "symbol": body["symbol"],
            "side": body["side"],
            "price": body["price"],
            "quantity": body["quantity"],
            "executedQuantity": "0",
            "status": "New",
            "timeInForce": body["timeInForce"],
            "createdAt": now_ms(),
        }
        self.orders[order["id"]] = order
        if body["timeInForce"] == "IOC":
            order["status"], order["executedQuantity"] = "Filled", body["quantity"]
            self._trade(order, Decimal(body["quantity"]))
        for side in self.most_resting:
            now = sum((Decimal(o["quantity"]) for o in self.resting if o["side"] == side), Decimal(0))
            self.most_resting[side] = max(self.most_resting[side], now)
        return dict(order) | {"operation": "Ok"}

    def _cancel(self, order_id: str) -> tuple[int, Any]:
        order = self.orders.get(order_id)
        if order is None or order["status"] in CLOSED:
            return 404, NOT_FOUND
        order["status"] = "Cancelled"
        self.cancelled.append(order_id)
        return 200, dict(order)

    def _trade(self, order: dict[str, Any], quantity: Decimal) -> None:
        at_ms = now_ms()
        self.trades.append(
            {
                "clientId": str(order["clientId"]),
                "fee": "0",
                "feeSymbol": "USDC",
                "isMaker": True,
                "orderId": order["id"],
                "price": order["price"],
                "quantity": str(quantity),
                "side": order["side"],
                "symbol": self.symbol,
                "timestamp": iso(at_ms),
                "tradeId": 100 + len(self.trades),
                "systemOrderType": None,
                "at_ms": at_ms,
            }
        )


NOT_FOUND = {"code": "RESOURCE_NOT_FOUND", "message": "Order not found"}


def filled_in(body: bytes, order: dict[str, Any]) -> bytes:
    """Return a spoiled order with the places of the template filled in."""

    def value(match: re.Match[bytes]) -> bytes:
        name = match.group(1).decode()
        return json.dumps(order[name]).encode() if name in order else match.group(0)

    return re.sub(rb'"@(\w+)"', value, body)


def without_times(document: Any, name: str = "") -> Any:
    """Return a document with places for its times, so that it can be drawn from at any time."""
    if isinstance(document, dict):
        return {key: without_times(value, key) for key, value in document.items()}
    if isinstance(document, list):
        return [without_times(value) for value in document]
    if name not in {"timestamp", "createdAt", ""}:
        return document
    return "@iso" if isinstance(document, str) else "@us" if name == "timestamp" else "@ms"


def with_times(body: bytes, at_ms: int) -> bytes:
    """Return a body in which the places for times are filled in."""
    body = body.replace(b'"@iso"', json.dumps(iso(at_ms)).encode())
    return body.replace(b'"@us"', str(at_ms * 1000).encode()).replace(b'"@ms"', str(at_ms).encode())


def now_ms() -> int:
    """Return the exchange's time."""
    return time.time_ns() // 1_000_000


def iso(ms: int) -> str:
    """Return a time as histories write it."""
    return datetime.fromtimestamp(ms / 1000, UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")


class Wire(HTTPAdapter):
    """Hands requests to a `SmallExchange` instead of a socket."""

    def __init__(self, exchange: SmallExchange) -> None:
        super().__init__()
        self._exchange = exchange

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        """Return the answer, as if it had come over a socket."""
        url = urlsplit(str(request.url))
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        body = json.loads(request.body, parse_constant=refuse) if request.body else None
        status, answer = self._exchange.answer(str(request.method), url.path, query, body)
        raw = urllib3.HTTPResponse(body=io.BytesIO(answer), status=status, preload_content=False)
        return self.build_response(request, raw)


def refuse(name: str) -> None:
    """Fail for NaN and the like in a request of ours."""
    raise AssertionError(f"{name} was sent")


def sessions(exchange: SmallExchange) -> Callable[..., requests.Session]:
    """Return what makes sessions that reach `exchange` and nothing else."""

    def session(pool_size: int) -> requests.Session:
        del pool_size
        made = requests.Session()
        made.trust_env = False
        made.mount("http://", Wire(exchange))
        return made

    return session

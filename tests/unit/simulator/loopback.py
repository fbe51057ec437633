"""The simulated exchange on a loopback socket within the test process, and a client that signs."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import requests
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from simulator import accounts
from simulator.engine import Engine
from simulator.exchange import Exchange
from simulator.faults import Faults
from simulator.flow import SyntheticFlow
from simulator.funding import Funding
from simulator.journal import Journal
from simulator.rate_limit import RateLimit
from simulator.server import create_app
from simulator.signature import KeyRing, signing_string
from simulator.stream_connection import StreamOptions
from simulator.stream_faults import StreamFaults
from simulator.streams import Streams

BID: dict[str, Any] = {
    "symbol": "SOL_USDC",
    "side": "Bid",
    "orderType": "Limit",
    "price": "140",
    "quantity": "1",
}


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def now_us() -> int:
    return time.time_ns() // 1000


def eventually(condition: Callable[[], bool], what: str | Callable[[], str]) -> None:
    """Wait for a condition; `what` tells what is wrong, if a function how it stood at the end."""
    # A process may have to start meanwhile, beside others that want the processor.
    deadline_s = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline_s, what if isinstance(what, str) else what()
        time.sleep(0.01)


class Client:
    """Signs as the demo account and asks the operator's side."""

    def __init__(self, url: str, seed: bytes = b"\x01" * 32) -> None:
        self.url = url
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self._public = base64.b64encode(self._key.public_key().public_bytes_raw()).decode()
        self.session = requests.Session()
        self.session.trust_env = False

    def call(
        self,
        method: str,
        path: str,
        instruction: str,
        payload: Any = None,
        *,
        signed_at_ms: int | None = None,
        window_ms: int = 5_000,
        timeout_s: float = 30,
    ) -> requests.Response:
        """Send a signed request."""
        payload = {} if payload is None else payload
        at_ms = now_ms() if signed_at_ms is None else signed_at_ms
        text = signing_string(instruction, payload, at_ms, window_ms)
        headers = {
            "X-API-Key": self._public,
            "X-Signature": base64.b64encode(self._key.sign(text.encode())).decode(),
            "X-Timestamp": str(at_ms),
            "X-Window": str(window_ms),
            "Content-Type": "application/json; charset=utf-8",
        }
        body = {"params": payload} if method == "GET" else {"data": json.dumps(payload)}
        return self.session.request(method, self.url + path, headers=headers, timeout=timeout_s, **body)

    def place(self, **fields: Any) -> requests.Response:
        """Place an order like `BID`; `signed_at_ms`, `window_ms` and `timeout_s` are about the request."""
        request = {
            name: fields.pop(name) for name in ("signed_at_ms", "window_ms", "timeout_s") if name in fields
        }
        return self.call("POST", "/api/v1/order", "orderExecute", BID | fields, **request)

    def cancel(self, **fields: Any) -> requests.Response:
        """Cancel an order of `SOL_USDC`."""
        return self.call("DELETE", "/api/v1/order", "orderCancel", {"symbol": "SOL_USDC"} | fields)

    def open_ids(self) -> list[str]:
        """Return the ids that the exchange lists as open."""
        answer = self.call("GET", "/api/v1/orders", "orderQueryAll")
        assert answer.status_code == 200, answer.text
        return [order["id"] for order in answer.json()]

    def witnessed_ids(self) -> list[str]:
        """Return the ids that rest by the operator's side, where no fault and no rate limit reaches."""
        return [o["order_id"] for o in self.get("/sim/orders", account="demo").json()]

    def get(self, path: str, **query: Any) -> requests.Response:
        """Ask without a signature."""
        return self.session.get(self.url + path, params=query, timeout=30)

    def post(self, path: str, body: Any) -> requests.Response:
        """Post without a signature."""
        return self.session.post(self.url + path, json=body, timeout=30)

    def fault(self, endpoint: str, kind: str, **fields: Any) -> None:
        """Put one rule in force."""
        answer = self.post("/sim/faults", [{"endpoint": endpoint, "kind": kind, **fields}])
        assert answer.status_code == 200, answer.text

    def journal(self, event: str) -> list[dict[str, Any]]:
        """Return what was witnessed of one kind."""
        return [entry for entry in self.get("/sim/journal").json() if entry["event"] == event]


@contextmanager
def running(stream_options: StreamOptions | None = None, **changed: Any) -> Iterator[Client]:
    """Serve an exchange whose market stands still at 150; `changed` are fields of `Exchange`."""
    journal = Journal(now_us)
    engine = Engine(now_ms, journal, accounts.built_in())
    fields: dict[str, Any] = {
        "now_ms": now_ms,
        "engine": engine,
        "keys": KeyRing(engine.accounts.values()),
        "journal": journal,
        "faults": Faults(1),
        "rate_limit": RateLimit(now_ms, 100_000),
        "latency_ms": 0,
        "cancel_202_ms": None,
        "taker_hold_ms": 0,
        "window_check_on_arrival": False,
        "flow": SyntheticFlow(engine, 1),
        "strict_client_ids": False,
        "streams": Streams(engine, now_us, StreamFaults(1, journal), stream_options or StreamOptions()),
        "funding": Funding(engine, journal),
    }
    loop = asyncio.new_event_loop()
    started = threading.Event()
    ended = asyncio.Event()
    port = 0

    async def serve() -> None:
        nonlocal port
        runner = web.AppRunner(create_app(Exchange(**(fields | changed))), shutdown_timeout=0.2)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = int(runner.addresses[0][1])
        started.set()
        await ended.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert started.wait(10)
    client = Client(f"http://127.0.0.1:{port}")
    try:
        yield client
    finally:
        client.session.close()
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)
        loop.close()

"""A client of the simulated exchange's streams that reads in a thread and remembers everything."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import websocket
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from simulator.signature import signing_string
from tests.unit.simulator.loopback import Client, eventually, now_ms

DEMO_SEED = b"\x01" * 32
OTHER_SEED = b"\x02" * 32


def signature_of(
    seed: bytes = DEMO_SEED,
    *,
    at_ms: int | None = None,
    window_ms: int = 5_000,
    instruction: str = "subscribe",
) -> list[str]:
    """Return what a private subscription carries."""
    key = Ed25519PrivateKey.from_private_bytes(seed)
    at_ms = now_ms() if at_ms is None else at_ms
    text = signing_string(instruction, {}, at_ms, window_ms)
    return [
        base64.b64encode(key.public_key().public_bytes_raw()).decode(),
        base64.b64encode(key.sign(text.encode())).decode(),
        str(at_ms),
        str(window_ms),
    ]


class StreamClient:
    """One connection; what arrives is kept with the time of its arrival."""

    def __init__(self, exchange: Client, path: str = "/") -> None:
        self._exchange = exchange
        # The reader waits for a message; only a test that fails waits this long for its end.
        self.socket = websocket.create_connection(
            exchange.url.replace("http", "ws") + path, timeout=40, http_no_proxy=["127.0.0.1"]
        )
        self.frames: list[dict[str, Any]] = []
        #: Arrival of each frame, ns since the epoch.
        self.arrived_ns: list[int] = []
        self.opcodes: list[int] = []
        #: None: open.
        self.ended: str | None = None
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        try:
            while True:
                opcode, data = self.socket.recv_data(control_frame=True)
                self.opcodes.append(opcode)
                if opcode == websocket.ABNF.OPCODE_CLOSE:
                    self.ended = f"close {int.from_bytes(data[:2], 'big')}"
                    return
                if opcode == websocket.ABNF.OPCODE_TEXT:
                    self.arrived_ns.append(time.time_ns())
                    self.frames.append(json.loads(data))
        except (websocket.WebSocketException, OSError) as error:
            self.ended = type(error).__name__

    def send(self, frame: Any) -> None:
        """Send a frame as it is."""
        self.socket.send(frame if isinstance(frame, str) else json.dumps(frame))

    def subscribe(self, *names: str, seed: bytes = DEMO_SEED) -> None:
        """Subscribe and wait until it is done, which the exchange does not tell."""
        frame: dict[str, Any] = {"method": "SUBSCRIBE", "params": list(names)}
        if any(name.startswith("account.") for name in names):
            frame["signature"] = signature_of(seed)
        self.send(frame)
        eventually(
            lambda: any(set(names) <= set(c["streams"]) for c in self.connections()),
            lambda: f"no {names} among {self.connections()}",
        )

    def connections(self) -> list[dict[str, Any]]:
        """Return everybody's connections."""
        found: list[dict[str, Any]] = self._exchange.get("/sim/streams").json()
        return found

    def of(self, stream: str) -> list[dict[str, Any]]:
        """Return what a stream said so far."""
        return [frame["data"] for frame in list(self.frames) if frame.get("stream") == stream]

    def until(self, stream: str, count: int) -> list[dict[str, Any]]:
        """Wait until a stream has said so many things; return all."""
        eventually(
            lambda: len(self.of(stream)) >= count,
            lambda: f"{count} of {stream} expected: {self.of(stream)}, {self.ended}",
        )
        return self.of(stream)

    def errors(self, count: int) -> list[dict[str, Any]]:
        """Wait for so many error envelopes; return all."""
        eventually(
            lambda: len([f for f in list(self.frames) if "error" in f]) >= count,
            lambda: f"{count} errors expected: {self.frames}, {self.ended}",
        )
        return [frame for frame in self.frames if "error" in frame]

    def close(self) -> None:
        """End the connection and its reader."""
        if self.ended is None:
            self.socket.close(timeout=1)
        self.socket.shutdown()  # type: ignore[no-untyped-call]
        self._reader.join(10)


@contextmanager
def listening(
    exchange: Client, *names: str, path: str = "/", seed: bytes = DEMO_SEED
) -> Iterator[StreamClient]:
    """Open a connection subscribed to `names`."""
    client = StreamClient(exchange, path)
    try:
        if names:
            client.subscribe(*names, seed=seed)
        yield client
    finally:
        client.close()

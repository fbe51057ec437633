"""A Backpack adapter whose clock stands still, and a server on loopback that misbehaves as told."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import responses

from exchanges.backpack.client import BackpackClient
from exchanges.backpack.config import BackpackConfig, Credentials
from exchanges.backpack.exchange import BackpackExchange
from exchanges.backpack.stream import BackpackStream
from exchanges.base import Authorization
from exchanges.budget import RateBudget, UnlimitedBudget
from exchanges.clock import ExchangeClock
from market.orders import NewOrder, OrderType, Side
from tests.support import closed_port
from tests.unit.exchanges.stream_server import StreamServer

#: Where no test sends anything: `responses` answers.
BASE_URL = "http://backpack.test"
NOW_MS = 1_750_793_021_519
API_KEY = "iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w="
SECRET = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="  # the published test vectors' key: 32 bytes of 0x01

OpenBackpack = Callable[..., BackpackExchange]
OpenStream = Callable[..., BackpackStream]
Behaviour = Callable[[socket.socket], bool]


@pytest.fixture
def vectors_file() -> Path:
    return Path(__file__).parents[2] / "data" / "backpack_vectors.json"


@pytest.fixture
def credentials() -> Credentials:
    return Credentials(api_key=API_KEY, secret_key=SECRET)


@pytest.fixture
def network() -> Iterator[responses.RequestsMock]:
    """Stand for the network: what a test has not told it to answer cannot be reached."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


@pytest.fixture
def open_backpack(credentials: Credentials) -> Iterator[OpenBackpack]:
    opened: list[BackpackExchange] = []

    def factory(
        base_url: str = BASE_URL,
        *,
        budget: RateBudget | None = None,
        max_batch: int = 20,
        read_timeout_s: float = 30.0,
    ) -> BackpackExchange:
        config = BackpackConfig(
            base_url=base_url, max_batch=max_batch, read_timeout_s=read_timeout_s, connect_timeout_s=0.5
        )
        client = BackpackClient(config, credentials, budget or UnlimitedBudget())
        opened.append(BackpackExchange(client, ExchangeClock(lambda: NOW_MS, monotonic=lambda: 0.0), config))
        return opened[-1]

    yield factory
    for exchange in opened:
        exchange.close()


@pytest.fixture
def exchange(open_backpack: OpenBackpack) -> BackpackExchange:
    return open_backpack()


@pytest.fixture
def authorization() -> Authorization:
    return Authorization(signed_at_ms=NOW_MS - 777, window_ms=4_000)


@pytest.fixture
def new_order() -> Callable[..., NewOrder]:
    def factory(
        client_order_id: int = 7,
        *,
        price: str | None = "141.250",
        post_only: bool = True,
        order_type: OrderType = OrderType.LIMIT,
        reduce_only: bool = False,
    ) -> NewOrder:
        return NewOrder(
            client_order_id=client_order_id,
            symbol="SOL_USDC",
            side=Side.BUY,
            order_type=order_type,
            quantity=Decimal("0.5"),
            price=None if price is None else Decimal(price),
            post_only=post_only,
            reduce_only=reduce_only,
        )

    return factory


@pytest.fixture
def wire_order() -> Callable[..., dict[str, object]]:
    """Return an order as Backpack writes it; fields can be replaced by name."""

    def factory(client_order_id: int | None = 7, **fields: object) -> dict[str, object]:
        return {
            "orderType": "Limit",
            "id": "4228978331",
            "clientId": client_order_id,
            "symbol": "SOL_USDC",
            "side": "Bid",
            "price": "141.25",
            "quantity": "0.5",
            "executedQuantity": "0",
            "executedQuoteQuantity": "0",
            "status": "New",
            "timeInForce": "GTC",
            "postOnly": True,
            "reduceOnly": None,
            "createdAt": 1753626206762,
        } | fields

    return factory


class RudeServer:
    """Accepts connections on loopback and treats the nth request as the nth behaviour says."""

    def __init__(self, behaviours: list[Behaviour]) -> None:
        self._behaviours = iter(behaviours)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests: list[bytes] = []
        self.connections = 0
        self.released = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.released.set()
        self._listener.close()
        for connection in self._open:
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            while (request := _read_request(connection)) is not None:
                with self._lock:
                    self.requests.append(request)
                    behaviour = next(self._behaviours, None)
                if behaviour is None or not behaviour(connection):
                    break
        except OSError:
            pass
        finally:
            connection.close()


def _read_request(connection: socket.socket) -> bytes | None:
    data = b""
    while b"\r\n\r\n" not in data:
        received = connection.recv(65536)
        if not received:
            return None
        data += received
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [
        line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
    ]
    missing = int(lengths[0]) - len(body) if lengths else 0
    while missing > 0:
        received = connection.recv(missing)
        if not received:
            return None
        data, missing = data + received, missing - len(received)
    return data


class Rude:
    """The behaviours of a `RudeServer`."""

    @staticmethod
    def answer(body: bytes, status: str = "200 OK") -> Behaviour:
        def behave(connection: socket.socket) -> bool:
            head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
            return True

        return behave

    @staticmethod
    def close(connection: socket.socket) -> bool:
        return False

    @staticmethod
    def reset(connection: socket.socket) -> bool:
        # Lingering for zero seconds makes close() send RST instead of FIN.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False

    @staticmethod
    def cut_short(connection: socket.socket) -> bool:
        connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"id":')
        return False

    @staticmethod
    def not_http(connection: socket.socket) -> bool:
        connection.sendall(b"hello\r\n\r\n")
        return False

    @staticmethod
    def hang(released: threading.Event) -> Behaviour:
        def behave(connection: socket.socket) -> bool:
            released.wait(10)
            return False

        return behave


@pytest.fixture
def rude() -> type[Rude]:
    return Rude


@pytest.fixture
def rude_server() -> Iterator[Callable[..., RudeServer]]:
    servers: list[RudeServer] = []

    def factory(*behaviours: Behaviour) -> RudeServer:
        servers.append(RudeServer(list(behaviours)))
        return servers[-1]

    yield factory
    for server in servers:
        server.close()


@pytest.fixture
def closed_port_url() -> Iterator[str]:
    """An address where nobody listens."""
    with closed_port() as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def server() -> Iterator[StreamServer]:
    server = StreamServer()
    yield server
    server.stop()


@pytest.fixture
def new_stream(credentials: Credentials) -> Iterator[OpenStream]:
    made: list[BackpackStream] = []

    def factory(url: str, **settings: Any) -> BackpackStream:
        made.append(BackpackStream(url, credentials, lambda: NOW_MS, **settings))
        return made[-1]

    yield factory
    for stream in made:
        stream.close()


@pytest.fixture
def stream(server: StreamServer, new_stream: OpenStream) -> BackpackStream:
    stream = new_stream(server.url)
    stream.open()
    server.next()
    return stream

"""A request is signed once it has its turn in the budget; a placement as authorised, whenever that comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import responses

from exchanges.backpack.client import BackpackClient
from exchanges.backpack.config import BackpackConfig, Credentials
from exchanges.backpack.exchange import BackpackExchange
from exchanges.base import Authorization
from exchanges.budget import RequestKind
from exchanges.clock import ExchangeClock
from market.orders import NewOrder

NOW_MS = 1_750_793_021_519
#: Longer than the window.
TURN_S = 1.4
WINDOW_MS = 1_000


class SlowTurns:
    """A budget in which everything waits for its turn, by a clock that only this moves."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.taken: list[RequestKind] = []

    def take(self, kind: RequestKind, count: int = 1) -> None:
        assert count == 1
        self.taken.append(kind)
        self.now_s += TURN_S


@pytest.fixture
def turns() -> SlowTurns:
    return SlowTurns()


@pytest.fixture
def open_exchange(credentials: Credentials, turns: SlowTurns) -> Iterator[Callable[[str], BackpackExchange]]:
    opened: list[BackpackExchange] = []

    def factory(base_url: str) -> BackpackExchange:
        config = BackpackConfig(base_url=base_url, window_ms=WINDOW_MS)
        clock = ExchangeClock(lambda: NOW_MS, monotonic=lambda: turns.now_s)
        clock.now_ms()
        opened.append(BackpackExchange(BackpackClient(config, credentials, turns), clock, config))
        return opened[-1]

    yield factory
    for exchange in opened:
        exchange.close()


def sent_late_by_ms(head: bytes, turns: SlowTurns) -> int:
    """Return how old the signature of the newest request was when its turn came."""
    line = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"x-timestamp:"))
    truth_ms = NOW_MS + round((turns.now_s - 100.0) * 1000)
    return truth_ms - int(line.split(b":")[1])


@pytest.mark.parametrize("call", ["open_orders", "cancel"])
def test_what_waited_for_its_turn_has_its_whole_window_left(
    call: str,
    turns: SlowTurns,
    open_exchange: Callable[[str], BackpackExchange],
    rude_server: Any,
    rude: Any,
) -> None:
    server = rude_server(rude.answer(b"[]" if call == "open_orders" else b"", "200 OK"))
    exchange = open_exchange(server.url)
    if call == "open_orders":
        exchange.open_orders("SOL_USDC")
    else:
        exchange.cancel_all("SOL_USDC")
    assert len(turns.taken) == 1
    # What the clock takes off for drift, and no more.
    assert 0 <= sent_late_by_ms(server.requests[0], turns) <= 2


def test_the_second_try_of_a_read_is_signed_anew(
    turns: SlowTurns, open_exchange: Callable[[str], BackpackExchange], rude_server: Any, rude: Any
) -> None:
    server = rude_server(rude.close, rude.answer(b"[]"))
    open_exchange(server.url).open_orders("SOL_USDC")
    assert turns.taken == [RequestKind.READ, RequestKind.READ]
    assert 0 <= sent_late_by_ms(server.requests[1], turns) <= 4


def test_a_placement_is_signed_as_authorised_however_long_its_turn_takes(
    turns: SlowTurns, open_exchange: Callable[[str], BackpackExchange], new_order: Callable[..., NewOrder]
) -> None:
    authorization = Authorization(signed_at_ms=NOW_MS - 777, window_ms=WINDOW_MS)
    with responses.RequestsMock() as network:
        network.post("http://backpack.test/api/v1/order", status=400, json={"code": "X", "message": "x"})
        open_exchange("http://backpack.test").place([new_order(7)], authorization)
        sent = network.calls[0].request.headers
    assert turns.taken == [RequestKind.PLACE]
    assert (sent["X-Timestamp"], sent["X-Window"]) == (str(NOW_MS - 777), str(WINDOW_MS))

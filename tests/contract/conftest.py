"""An adapter that talks to a simulated exchange of its own, and the exchange's faults."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from exchanges.backpack.config import BackpackConfig, Credentials
from exchanges.backpack.exchange import BackpackExchange, open_backpack
from exchanges.budget import UnlimitedBudget
from market.instrument import Instrument
from tests.contract.simulated_exchange import (
    DEMO,
    READ_TIMEOUT_S,
    SYMBOL,
    direct_session,
    start_simulator,
    stop_simulator,
)


@pytest.fixture(scope="module")
def simulator_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    process, url = start_simulator(tmp_path_factory.mktemp("simulator") / "port")
    yield url
    stop_simulator(process)


@pytest.fixture
def open_exchange(simulator_url: str) -> Iterator[Callable[..., BackpackExchange]]:
    opened: list[BackpackExchange] = []

    def factory(keys: Credentials = DEMO, url: str = simulator_url, **settings: Any) -> BackpackExchange:
        config = BackpackConfig(base_url=url, read_timeout_s=READ_TIMEOUT_S, **settings)
        opened.append(open_backpack(config, keys, UnlimitedBudget()))
        return opened[-1]

    yield factory
    for exchange in opened:
        exchange.close()


@pytest.fixture
def exchange(open_exchange: Callable[..., BackpackExchange]) -> Iterator[BackpackExchange]:
    exchange = open_exchange(max_batch=10)
    yield exchange
    exchange.cancel_all(SYMBOL)
    assert exchange.open_orders(SYMBOL) == ()


@pytest.fixture
def instrument(exchange: BackpackExchange) -> Instrument:
    return exchange.instrument(SYMBOL)


@pytest.fixture
def set_fault(simulator_url: str) -> Iterator[Callable[..., None]]:
    def put(*faults: dict[str, Any]) -> None:
        with direct_session() as session:
            session.post(f"{simulator_url}/sim/faults", json=list(faults), timeout=30).raise_for_status()

    def factory(endpoint: str, kind: str, **fields: Any) -> None:
        put({"endpoint": endpoint, "kind": kind, "probability": 1.0, "count": 1} | fields)

    yield factory
    put()

"""Requests of a cleanup that waited longer than their window allows, against the simulated exchange."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from exchanges.backpack.config import BackpackConfig
from exchanges.backpack.exchange import BackpackExchange, open_backpack
from exchanges.budget import CleanupBudget, RequestKind
from exchanges.errors import RequestExpired
from tests.contract.simulated_exchange import (
    DEMO,
    SYMBOL,
    authorize,
    eventually,
    make_order,
    placed,
    start_simulator,
    stop_simulator,
)

WINDOW_MS = 1_000
TURN_S = 1.1


class UsedUp:
    """A budget that has nothing at once, as soon as it `is_empty`."""

    def __init__(self) -> None:
        self.is_empty = False

    def take(self, kind: RequestKind, count: int = 1) -> None:
        """Placements do not wait."""

    def take_turn(self, kind: RequestKind, count: int = 1) -> None:
        if self.is_empty:
            threading.Event().wait(TURN_S)


@pytest.fixture
def budget() -> UsedUp:
    return UsedUp()


@pytest.fixture
def exchange(tmp_path_factory: pytest.TempPathFactory, budget: UsedUp) -> Iterator[BackpackExchange]:
    process, url = start_simulator(tmp_path_factory.mktemp("simulator") / "port")
    config = BackpackConfig(base_url=url, window_ms=WINDOW_MS)
    exchange = open_backpack(config, DEMO, CleanupBudget(budget))
    yield exchange
    exchange.close()
    stop_simulator(process)


def test_a_cancel_and_a_list_that_waited_for_their_turn_are_not_expired(
    exchange: BackpackExchange, budget: UsedUp
) -> None:
    order = make_order(exchange, exchange.instrument(SYMBOL))
    (result,) = exchange.place([order], authorize(exchange))
    resting = placed(result)
    budget.is_empty = True

    def accepted(send: Callable[[], object]) -> Callable[[], bool]:
        def is_accepted() -> bool:
            try:
                send()
            except RequestExpired:
                return False
            return True

        return is_accepted

    # More than once only for a machine that stands still for the rest of the window.
    eventually(accepted(lambda: exchange.cancel(SYMBOL, resting.order_id)), "a cancel within its window")
    eventually(accepted(lambda: exchange.open_orders(SYMBOL)), "a list within its window")
    budget.is_empty = False
    assert exchange.open_orders(SYMBOL) == ()

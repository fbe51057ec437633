"""The Backpack adapter where answers are lost, late or wrong: what happened is found out, or unknown."""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests

from exchanges.backpack.exchange import BackpackExchange
from exchanges.errors import (
    ExchangeError,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
)
from market.instrument import Instrument
from market.orders import (
    CancelAnswer,
    CancelOutcome,
    OrderType,
    Side,
)
from tests.contract.simulated_exchange import (
    PERP,
    READ_TIMEOUT_S,
    SYMBOL,
    authorize,
    direct_session,
    eventually,
    make_order,
    placed,
    start_simulator,
    stop_simulator,
)


@pytest.mark.parametrize("count", [1, 3])
def test_a_placement_that_lands_though_its_answer_is_lost_is_found_by_its_client_id(
    count: int, exchange: BackpackExchange, instrument: Instrument, set_fault: Callable[..., None]
) -> None:
    orders = [make_order(exchange, instrument) for _ in range(count)]
    set_fault("POST /api/v1/order" if count == 1 else "POST /api/v1/orders", "reset_after")
    results = exchange.place(orders, authorize(exchange))
    assert [type(result.error) for result in results] == [OutcomeUnknown] * count
    for order in orders:
        found = exchange.resolve_placement(SYMBOL, order.client_order_id)
        assert found is not None
        assert found.client_order_id == order.client_order_id
    assert len(exchange.open_orders(SYMBOL)) == count


@pytest.mark.parametrize(
    ("kind", "fields"),
    [("reset_before", {}), ("error", {"status": 503}), ("error", {"status": 500})],
)
def test_a_placement_that_got_lost_is_unknown_and_not_found(
    kind: str,
    fields: dict[str, Any],
    exchange: BackpackExchange,
    instrument: Instrument,
    set_fault: Callable[..., None],
) -> None:
    order = make_order(exchange, instrument)
    set_fault("POST /api/v1/order", kind, **fields)
    (result,) = exchange.place([order], authorize(exchange))
    assert type(result.error) is OutcomeUnknown
    assert exchange.resolve_placement(SYMBOL, order.client_order_id) is None
    assert exchange.open_orders(SYMBOL) == ()


def test_a_placement_may_still_arrive_after_it_was_not_found_but_not_after_its_window(
    exchange: BackpackExchange, instrument: Instrument, set_fault: Callable[..., None]
) -> None:
    in_time, too_late = make_order(exchange, instrument), make_order(exchange, instrument)
    set_fault("POST /api/v1/order", "late", delay_ms=2_000, count=2)
    (first,) = exchange.place([in_time], authorize(exchange, window_ms=5_000))
    assert type(first.error) is OutcomeUnknown
    assert exchange.resolve_placement(SYMBOL, in_time.client_order_id) is None
    (second,) = exchange.place([too_late], authorize(exchange, window_ms=100))
    assert type(second.error) is OutcomeUnknown
    eventually(
        lambda: exchange.resolve_placement(SYMBOL, in_time.client_order_id) is not None,
        "a late placement never arrived",
    )
    arrived_s = time.monotonic()
    eventually(lambda: time.monotonic() > arrived_s + 1, "a second has not passed")
    assert exchange.resolve_placement(SYMBOL, too_late.client_order_id) is None


def test_a_placement_that_hangs_is_unknown_after_the_read_timeout(
    exchange: BackpackExchange, instrument: Instrument, set_fault: Callable[..., None]
) -> None:
    order = make_order(exchange, instrument)
    set_fault("POST /api/v1/order", "hang")
    started_s = time.monotonic()
    (result,) = exchange.place([order], authorize(exchange, window_ms=1_000))
    assert type(result.error) is OutcomeUnknown
    assert READ_TIMEOUT_S * 0.9 < time.monotonic() - started_s < READ_TIMEOUT_S + 5


def test_too_many_requests_change_nothing(
    exchange: BackpackExchange, instrument: Instrument, set_fault: Callable[..., None]
) -> None:
    order = make_order(exchange, instrument)
    set_fault("POST /api/v1/order", "error", status=429)
    (result,) = exchange.place([order], authorize(exchange))
    assert type(result.error) is RateLimited
    set_fault("GET /api/v1/orders", "error", status=429)
    with pytest.raises(RateLimited):
        exchange.open_orders(SYMBOL)


def test_a_list_that_fails_is_unknown_and_a_broken_connection_is_tried_once_more(
    exchange: BackpackExchange, set_fault: Callable[..., None]
) -> None:
    set_fault("GET /api/v1/orders", "error", status=503)
    with pytest.raises(Unavailable):
        exchange.open_orders(SYMBOL)
    set_fault("GET /api/v1/orders", "hang")
    with pytest.raises(Unavailable):
        exchange.open_orders(SYMBOL)
    set_fault("GET /api/v1/orders", "reset_before", count=1)
    assert exchange.open_orders(SYMBOL) == ()
    set_fault("GET /api/v1/orders", "reset_before", count=2)
    with pytest.raises(Unavailable):
        exchange.open_orders(SYMBOL)


def test_a_cancel_may_be_only_accepted_or_lost_and_is_safe_to_repeat(
    exchange: BackpackExchange, instrument: Instrument, set_fault: Callable[..., None]
) -> None:
    first, second = (
        placed(result)
        for result in exchange.place(
            [make_order(exchange, instrument) for _ in range(2)], authorize(exchange)
        )
    )
    set_fault("DELETE /api/v1/order", "cancel_202")
    assert exchange.cancel(SYMBOL, first.order_id) == CancelAnswer(outcome=CancelOutcome.ACCEPTED)
    eventually(
        lambda: all(order.order_id != first.order_id for order in exchange.open_orders(SYMBOL)),
        "an accepted cancel was never carried out",
    )
    set_fault("DELETE /api/v1/order", "reset_after")
    with pytest.raises(OutcomeUnknown):
        exchange.cancel(SYMBOL, second.order_id)
    assert exchange.cancel(SYMBOL, second.order_id) == CancelAnswer(outcome=CancelOutcome.ALREADY_GONE)


def test_histories_and_positions_that_lag_do_not_know_yet(
    exchange: BackpackExchange, set_fault: Callable[..., None]
) -> None:
    perp = exchange.instrument(PERP)
    since_ms = exchange.clock.now_ms() - 1_000
    market = {"order_type": OrderType.MARKET, "price": None, "post_only": False}
    bought = placed(exchange.place([make_order(exchange, perp, **market)], authorize(exchange))[0])

    def known() -> tuple[bool, bool, Decimal]:
        return (
            exchange.find_ended(PERP, bought.order_id) is not None,
            bought.order_id in {fill.order_id for fill in exchange.fills(PERP, since_ms=since_ms)},
            exchange.position(PERP).net_quantity,
        )

    lag = {"delay_ms": 3_600_000, "count": None}
    set_fault("*", "stale_history", **lag)
    assert known() == (False, False, bought.quantity)
    set_fault("*", "late_position", **lag)
    assert known() == (True, True, Decimal(0))
    set_fault("*", "late_position", delay_ms=0)
    sell = make_order(exchange, perp, side=Side.SELL, reduce_only=True, **market)
    placed(exchange.place([sell], authorize(exchange))[0])
    assert exchange.position(PERP).net_quantity == 0


def test_an_exchange_that_is_gone_is_unavailable_for_everything(
    tmp_path: Path, open_exchange: Callable[..., BackpackExchange]
) -> None:
    process, url = start_simulator(tmp_path / "port")
    exchange = open_exchange(url=url)
    instrument = exchange.instrument(SYMBOL)
    order = make_order(exchange, instrument)
    authorization = authorize(exchange)
    stop_simulator(process)
    eventually(lambda: not _listens(url), "the simulator still listens")
    (result,) = exchange.place([order], authorization)
    # The pooled connection was closed under us: nothing can be read from that, but nothing was accepted.
    assert isinstance(result.error, Unavailable | OutcomeUnknown)
    (result,) = exchange.place([order], authorization)
    assert type(result.error) is Unavailable
    calls: list[Callable[[], object]] = [
        lambda: exchange.open_orders(SYMBOL),
        lambda: exchange.cancel(SYMBOL, "1"),
    ]
    for call in calls:
        with pytest.raises(ExchangeError) as caught:
            call()
        assert caught.type is Unavailable


def _listens(url: str) -> bool:
    try:
        with direct_session() as session:
            session.get(f"{url}/api/v1/ping", timeout=1)
    except requests.ConnectionError:
        return False
    return True

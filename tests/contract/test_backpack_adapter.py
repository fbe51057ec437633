"""The Backpack adapter against the simulated exchange, a process of its own, over HTTP alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests

from exchanges.backpack.config import BackpackConfig, Credentials
from exchanges.backpack.exchange import BackpackExchange, open_backpack
from exchanges.budget import UnlimitedBudget
from exchanges.errors import (
    AuthenticationFailed,
    DuplicateClientOrderId,
    ExchangeError,
    InsufficientFunds,
    OutcomeUnknown,
    PostOnlyWouldCross,
    RateLimited,
    Refused,
    RequestExpired,
    Unavailable,
)
from market.instrument import Instrument
from market.orders import (
    CancelAnswer,
    CancelOutcome,
    NewOrder,
    OrderStatus,
    OrderType,
    Side,
    TimeInForce,
)
from market.terms import AccountTerms
from tests.contract.simulated_exchange import (
    DEMO,
    PERP,
    SYMBOL,
    authorize,
    credentials,
    direct_session,
    eventually,
    make_order,
    placed,
    start_simulator,
    stop_simulator,
)

READ_TIMEOUT_S = 0.5


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
            session.post(f"{simulator_url}/sim/faults", json=list(faults), timeout=5).raise_for_status()

    def factory(endpoint: str, kind: str, **fields: Any) -> None:
        put({"endpoint": endpoint, "kind": kind, "probability": 1.0, "count": 1} | fields)

    yield factory
    put()


def test_public_reads_make_sense_together(exchange: BackpackExchange, instrument: Instrument) -> None:
    book = exchange.order_book(SYMBOL)
    assert book.best_bid is not None
    assert book.best_ask is not None
    assert book.best_bid < book.best_ask
    assert [level.price for level in book.bids] == sorted((b.price for b in book.bids), reverse=True)
    assert [level.price for level in book.asks] == sorted(a.price for a in book.asks)
    assert instrument.round_price(book.best_bid, Side.BUY) == book.best_bid
    before_ms, truth_ms = exchange.clock.now_ms(), exchange.server_time_ms()
    assert before_ms <= truth_ms < before_ms + 1000
    with pytest.raises(Refused):
        exchange.instrument("NO_SUCH")


def test_an_order_is_placed_found_cancelled_and_gone(
    exchange: BackpackExchange, instrument: Instrument
) -> None:
    order = make_order(exchange, instrument)
    (result,) = exchange.place([order], authorize(exchange))
    resting = placed(result)
    assert (resting.client_order_id, resting.status) == (order.client_order_id, OrderStatus.NEW)
    assert (resting.price, resting.quantity, resting.side) == (order.price, order.quantity, Side.BUY)
    assert exchange.open_orders(SYMBOL) == (resting,)
    assert exchange.find_order(SYMBOL, order.client_order_id) == resting
    cancelled = CancelAnswer(outcome=CancelOutcome.CANCELLED, executed_quantity=Decimal(0))
    assert exchange.cancel(SYMBOL, resting.order_id) == cancelled
    assert exchange.cancel(SYMBOL, resting.order_id) == CancelAnswer(outcome=CancelOutcome.ALREADY_GONE)
    assert exchange.find_order(SYMBOL, order.client_order_id) is None
    assert exchange.open_orders(SYMBOL) == ()


def test_batches_come_back_in_order_and_are_cancelled_in_parallel(
    exchange: BackpackExchange, instrument: Instrument
) -> None:
    orders = [make_order(exchange, instrument) for _ in range(25)]
    results = exchange.place(orders, authorize(exchange))
    resting = [placed(result) for result in results]
    assert [o.client_order_id for o in resting] == [o.client_order_id for o in orders]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda order: exchange.cancel(SYMBOL, order.order_id), resting))
    assert [answer.outcome for answer in answers] == [CancelOutcome.CANCELLED] * 25
    assert exchange.open_orders(SYMBOL) == ()


def test_refusals_tell_why_and_leave_nothing(
    exchange: BackpackExchange, instrument: Instrument, open_exchange: Callable[..., BackpackExchange]
) -> None:
    ask = exchange.order_book(SYMBOL).best_ask
    assert ask is not None
    crossing = make_order(exchange, instrument, price=instrument.round_price(ask * Decimal("1.02"), Side.BUY))
    huge = make_order(exchange, instrument, quantity=Decimal(10) ** 9)
    off_tick = make_order(exchange, instrument, price=ask * Decimal("0.9") + instrument.tick_size / 10)
    expected: list[tuple[NewOrder, type[Refused]]] = [
        (crossing, PostOnlyWouldCross),
        (huge, InsufficientFunds),
        (off_tick, Refused),
    ]
    for order, error in expected:
        (single,) = exchange.place([order], authorize(exchange))
        assert isinstance(single.error, error)
    results = exchange.place([order for order, _ in expected], authorize(exchange))
    for result, (_, error) in zip(results, expected, strict=True):
        assert isinstance(result.error, error)
    (late,) = exchange.place(
        [make_order(exchange, instrument)], authorize(exchange, window_ms=1_000, ago_ms=3_000)
    )
    assert isinstance(late.error, RequestExpired)
    stranger = open_exchange(credentials(b"\x77" * 32))
    (unknown_key,) = stranger.place([make_order(exchange, instrument)], authorize(exchange))
    assert isinstance(unknown_key.error, AuthenticationFailed)
    with pytest.raises(AuthenticationFailed):
        stranger.open_orders(SYMBOL)
    assert exchange.open_orders(SYMBOL) == ()


def test_a_client_id_cannot_rest_twice(exchange: BackpackExchange, instrument: Instrument) -> None:
    order = make_order(exchange, instrument)
    placed(exchange.place([order], authorize(exchange))[0])
    (again,) = exchange.place([order], authorize(exchange))
    assert isinstance(again.error, DuplicateClientOrderId)
    assert len(exchange.open_orders(SYMBOL)) == 1


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
    set_fault("POST /api/v1/order", "late", delay_ms=700, count=2)
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


def test_an_order_that_ended_is_found_with_what_was_executed_and_one_that_rests_is_not(
    exchange: BackpackExchange, instrument: Instrument
) -> None:
    resting = placed(exchange.place([make_order(exchange, instrument)], authorize(exchange))[0])
    assert exchange.find_ended(SYMBOL, resting.order_id) is None
    exchange.cancel(SYMBOL, resting.order_id)
    cancelled = exchange.find_ended(SYMBOL, resting.order_id)
    assert cancelled is not None
    assert (cancelled.status, cancelled.executed_quantity) == (OrderStatus.CANCELLED, Decimal(0))
    assert cancelled.client_order_id == resting.client_order_id
    ask = exchange.order_book(SYMBOL).best_ask
    assert ask is not None
    price = instrument.round_price(ask * Decimal("1.02"), Side.BUY)
    taker = make_order(exchange, instrument, post_only=False, time_in_force=TimeInForce.IOC, price=price)
    taken = placed(exchange.place([taker], authorize(exchange))[0])
    filled = exchange.find_ended(SYMBOL, taken.order_id)
    assert filled is not None
    assert (filled.status, filled.executed_quantity) == (OrderStatus.FILLED, taker.quantity)
    assert exchange.find_ended(PERP, taken.order_id) is None
    assert exchange.find_ended(SYMBOL, "1") is None


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


def test_the_terms_of_the_account_are_read(exchange: BackpackExchange) -> None:
    assert exchange.account_terms() == AccountTerms(
        spot_maker_bps=Decimal(8),
        spot_taker_bps=Decimal(10),
        perp_maker_bps=Decimal(2),
        perp_taker_bps=Decimal(5),
        leverage_limit=Decimal(20),
    )


def test_an_order_that_filled_at_once_is_in_the_answer_the_history_and_the_fills(
    exchange: BackpackExchange, instrument: Instrument, set_fault: Callable[..., None]
) -> None:
    since_ms = exchange.clock.now_ms() - 1_000
    ask = exchange.order_book(SYMBOL).best_ask
    assert ask is not None
    price = instrument.round_price(ask * Decimal("1.02"), Side.BUY)
    taker = {"post_only": False, "time_in_force": TimeInForce.IOC, "price": price}
    seen = make_order(exchange, instrument, **taker)
    lost = make_order(exchange, instrument, **taker)
    before = exchange.balances()[instrument.base_asset].total
    filled = placed(exchange.place([seen], authorize(exchange))[0])
    assert filled.status is OrderStatus.FILLED
    assert filled.remaining_quantity == 0
    set_fault("POST /api/v1/order", "reset_after")
    (result,) = exchange.place([lost], authorize(exchange))
    assert type(result.error) is OutcomeUnknown

    found = exchange.resolve_placement(SYMBOL, lost.client_order_id)
    assert found is not None
    assert found.status is OrderStatus.FILLED
    ours = [
        fill
        for fill in exchange.fills(SYMBOL, since_ms=since_ms)
        if fill.client_order_id in {seen.client_order_id, lost.client_order_id}
    ]
    assert sum(fill.quantity for fill in ours) == seen.quantity + lost.quantity
    assert all(fill.side is Side.BUY and not fill.is_maker for fill in ours)
    assert all(since_ms <= fill.filled_at_ms <= exchange.server_time_ms() for fill in ours)
    # The fee may be taken from what was bought.
    bought = exchange.balances()[instrument.base_asset].total - before
    assert seen.quantity * 2 * Decimal("0.99") < bought <= seen.quantity * 2


def test_a_perpetual_position_is_flat_then_long_then_flat(exchange: BackpackExchange) -> None:
    perp = exchange.instrument(PERP)
    assert exchange.position(PERP).net_quantity == 0
    market = {"order_type": OrderType.MARKET, "price": None, "post_only": False}
    buy = make_order(exchange, perp, **market)
    placed(exchange.place([buy], authorize(exchange))[0])
    assert exchange.position(PERP).net_quantity == buy.quantity
    sell = make_order(exchange, perp, side=Side.SELL, reduce_only=True, **market)
    placed(exchange.place([sell], authorize(exchange))[0])
    assert exchange.position(PERP).net_quantity == 0


def test_a_position_that_the_exchange_closes_is_a_fill_of_the_system(
    exchange: BackpackExchange, simulator_url: str
) -> None:
    perp = exchange.instrument(PERP)
    since_ms = exchange.clock.now_ms() - 1_000
    buy = make_order(exchange, perp, order_type=OrderType.MARKET, price=None, post_only=False)
    placed(exchange.place([buy], authorize(exchange))[0])
    body = {"account": "demo", "symbol": PERP, "quantity": str(buy.quantity)}
    with direct_session() as session:
        session.post(f"{simulator_url}/sim/liquidate", json=body, timeout=5).raise_for_status()
    assert exchange.position(PERP).net_quantity == 0
    fills = exchange.fills(PERP, since_ms=since_ms)
    own, system = fills[-2:]
    assert (own.client_order_id, own.is_system) == (buy.client_order_id, False)
    assert (system.client_order_id, system.is_system) == (None, True)
    assert (system.side, system.quantity) == (Side.SELL, buy.quantity)


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

"""The Backpack adapter against the simulated exchange, a process of its own, over HTTP alone."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

from exchanges.backpack.exchange import BackpackExchange
from exchanges.errors import (
    AuthenticationFailed,
    DuplicateClientOrderId,
    InsufficientFunds,
    OutcomeUnknown,
    PostOnlyWouldCross,
    Refused,
    RequestExpired,
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
    PERP,
    SYMBOL,
    authorize,
    credentials,
    direct_session,
    make_order,
    placed,
)


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

"""Backpack's streams against the simulated exchange, a process of its own, over sockets alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, TypeVar

import pytest

from exchanges.backpack import history
from exchanges.backpack.config import BackpackConfig, Credentials
from exchanges.backpack.exchange import BackpackExchange, open_backpack
from exchanges.budget import UnlimitedBudget
from exchanges.errors import StreamClosed
from exchanges.local_book import LocalBook
from exchanges.registry import VenueSettings, open_stream
from exchanges.stream import (
    BookChange,
    OrderEvent,
    OrderUpdate,
    Pulse,
    Stream,
    StreamEvent,
    StreamRefused,
)
from market.instrument import Instrument
from market.orders import OpenOrder, OrderStatus, OrderType, Side
from market.position import Position
from tests.contract.simulated_exchange import (
    DEMO,
    PERP,
    SYMBOL,
    authorize,
    credentials,
    direct_session,
    make_order,
    placed,
    start_simulator,
    stop_simulator,
)

E = TypeVar("E")

Post = Callable[..., Any]
OpenStream = Callable[..., Stream]


@pytest.fixture(scope="module")
def simulator_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    # A market that moves when it is told to, so that a book can be compared when it stands still.
    process, url = start_simulator(tmp_path_factory.mktemp("simulator") / "port", "--flow", "manual")
    yield url
    stop_simulator(process)


@pytest.fixture
def post(simulator_url: str) -> Iterator[Post]:
    """Tell the operator's side of the simulator something."""
    with direct_session() as session:

        def post(path: str, body: object) -> Any:
            answer = session.post(f"{simulator_url}/sim/{path}", json=body, timeout=30)
            answer.raise_for_status()
            return answer.json()

        yield post
        session.delete(f"{simulator_url}/sim/streams/faults", timeout=30).raise_for_status()


@pytest.fixture
def exchange(simulator_url: str) -> Iterator[BackpackExchange]:
    exchange = open_backpack(BackpackConfig(base_url=simulator_url), DEMO, UnlimitedBudget())
    yield exchange
    for symbol in (SYMBOL, PERP):
        exchange.cancel_all(symbol)
    exchange.close()


@pytest.fixture
def new_stream(simulator_url: str, exchange: BackpackExchange) -> Iterator[OpenStream]:
    opened: list[Stream] = []

    def factory(keys: Credentials = DEMO) -> Stream:
        settings = VenueSettings(base_url=simulator_url)
        opened.append(open_stream("backpack", settings, keys, exchange.clock))
        opened[-1].open()
        return opened[-1]

    yield factory
    for stream in opened:
        stream.close()


@pytest.fixture
def stream(new_stream: OpenStream, post: Post, simulator_url: str) -> Stream:
    stream = new_stream()
    # Subscriptions are not acknowledged, so an order placed at once may come before them.
    deadline_s = time.monotonic() + 30
    with direct_session() as session:
        while not any(
            "account.orderUpdate" in row["streams"]
            for row in session.get(f"{simulator_url}/sim/streams", timeout=30).json()
        ):
            assert time.monotonic() < deadline_s
    return stream


@pytest.fixture
def instrument(exchange: BackpackExchange) -> Instrument:
    return exchange.instrument(SYMBOL)


@pytest.fixture
def perp(exchange: BackpackExchange) -> Instrument:
    return exchange.instrument(PERP)


@pytest.fixture
def long_position(exchange: BackpackExchange, perp: Instrument) -> Iterator[Position]:
    """Return a position of the account that is closed again afterwards."""
    market: dict[str, Any] = {"order_type": OrderType.MARKET, "price": None, "post_only": False}
    placed(exchange.place([make_order(exchange, perp, **market)], authorize(exchange))[0])
    position = exchange.position(PERP)
    yield position
    sell = make_order(exchange, perp, side=Side.SELL, reduce_only=True, **market)
    placed(exchange.place([sell], authorize(exchange))[0])


def wait_for(stream: Stream, kind: type[E], fits: Callable[[E], bool] = lambda event: True) -> E:
    """Return the next event of a kind that fits; what came before it is dropped."""
    deadline_s = time.monotonic() + 30
    seen: list[StreamEvent] = []
    while time.monotonic() < deadline_s:
        for event in stream.receive(0.5):
            if isinstance(event, kind) and fits(event):
                return event
            seen.append(event)
    raise AssertionError(f"no such {kind.__name__} among {seen}")


def order_updates(stream: Stream, order: OpenOrder, last: OrderEvent) -> list[OrderUpdate]:
    """Return what is told of an order up to its event `last`."""
    deadline_s = time.monotonic() + 30
    found: list[OrderUpdate] = []
    while not any(update.event is last for update in found):
        assert time.monotonic() < deadline_s, found
        found += [
            event
            for event in stream.receive(0.5)
            if isinstance(event, OrderUpdate) and event.order.order_id == order.order_id
        ]
    return found


def test_own_orders_are_told_from_acceptance_to_cancel(
    exchange: BackpackExchange, stream: Stream, instrument: Instrument
) -> None:
    order = make_order(exchange, instrument)
    resting = placed(exchange.place([order], authorize(exchange))[0])
    exchange.cancel(SYMBOL, resting.order_id)
    accepted, cancelled = order_updates(stream, resting, OrderEvent.CANCELLED)
    assert (accepted.event, accepted.order.status) == (OrderEvent.ACCEPTED, OrderStatus.NEW)
    assert accepted.order.client_order_id == order.client_order_id
    assert (accepted.order.price, accepted.order.quantity) == (order.price, order.quantity)
    assert (cancelled.order.status, cancelled.fill) == (OrderStatus.CANCELLED, None)
    assert abs(exchange.server_time_ms() - cancelled.at_ms) < 10_000


def test_a_fill_on_the_stream_is_the_one_in_the_history(
    exchange: BackpackExchange, stream: Stream, instrument: Instrument, post: Post
) -> None:
    since_ms = exchange.server_time_ms() - 1
    resting = placed(exchange.place([make_order(exchange, instrument)], authorize(exchange))[0])
    assert exchange.account_open_orders() == (resting,)
    aggressor = {"symbol": SYMBOL, "side": "Ask", "price": str(resting.price)}
    for _ in range(2):
        post("trade", aggressor | {"quantity": str(resting.quantity / 2)})
    updates = order_updates(stream, resting, OrderEvent.FILLED)
    while updates[-1].order.status is not OrderStatus.FILLED:
        updates += order_updates(stream, resting, OrderEvent.FILLED)
    told = [update.fill for update in updates if update.fill]
    assert sum(fill.quantity for fill in told) == resting.quantity
    deadline_s = time.monotonic() + 30
    while len(listed := exchange.account_fills_page(since_ms=since_ms).fills) < len(told):
        assert time.monotonic() < deadline_s
    assert listed == exchange.fills(SYMBOL, since_ms=since_ms)
    assert [(fill.trade_id, fill.order_id, fill.quantity, fill.fee, fill.fee_asset) for fill in told] == [
        (fill.trade_id, fill.order_id, fill.quantity, fill.fee, fill.fee_asset) for fill in listed
    ]


def test_open_positions_are_listed(exchange: BackpackExchange, long_position: Position) -> None:
    (listed,) = exchange.positions()
    assert listed == exchange.position(PERP)
    assert listed.net_quantity == long_position.net_quantity


def test_fills_of_the_account_are_read_in_parts(
    exchange: BackpackExchange, instrument: Instrument, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    since_ms = exchange.server_time_ms() - 1
    resting = placed(exchange.place([make_order(exchange, instrument)], authorize(exchange))[0])
    part = {
        "symbol": SYMBOL,
        "side": "Ask",
        "price": str(resting.price),
        "quantity": str(resting.quantity / 10),
    }
    for _ in range(10):
        post("trade", part)
    whole = exchange.account_fills_page(since_ms=since_ms)
    assert (len(whole.fills), whole.is_complete) == (10, True)
    monkeypatch.setattr(history, "PAGE_ROWS", 2)
    monkeypatch.setattr(history, "FILL_PAGES", 2)
    page = exchange.account_fills_page(since_ms=since_ms)
    assert page.fills == whole.fills[: len(page.fills)]
    read = list(page.fills)
    while not page.is_complete:
        page = exchange.account_fills_page(since_ms=page.fills[-1].filled_at_ms)
        read += page.fills
    assert len(read) > len(whole.fills)
    assert tuple(dict.fromkeys(read)) == whole.fills


def test_funding_is_told_signed(exchange: BackpackExchange, long_position: Position, post: Post) -> None:
    since_ms = exchange.server_time_ms()
    assert exchange.funding_payments(since_ms=since_ms) == ()
    (settled,) = post("funding", {"symbol": PERP, "rate": "0.0001"})
    (payment,) = exchange.funding_payments(since_ms=since_ms - 3_600_000)
    assert (payment.symbol, payment.rate) == (PERP, Decimal("0.0001"))
    # Longs pay when the rate is positive.
    assert payment.amount < 0
    assert payment.amount == Decimal(settled["quantity"])
    assert abs(payment.interval_end_ms - since_ms) <= 3_600_000


def follow(stream: Stream, book: LocalBook, exchange: BackpackExchange, until: Callable[[], bool]) -> None:
    """Keep `book` as a feed does, until a condition holds."""
    deadline_s = time.monotonic() + 30
    while not until():
        assert time.monotonic() < deadline_s, "the condition was not met"
        for event in stream.receive(0.05):
            if isinstance(event, BookChange):
                book.apply(event)
        if book.needs_snapshot:
            book.load(exchange.depth_snapshot(book.symbol))


def equals_rest(book: LocalBook, exchange: BackpackExchange) -> Callable[[], bool]:
    def check() -> bool:
        local, listed = book.book(1_000), exchange.depth_snapshot(book.symbol).book
        return local is not None and (local.bids, local.asks) == (listed.bids, listed.asks)

    return check


@pytest.mark.parametrize("symbol", [SYMBOL, PERP])
def test_a_kept_book_equals_the_one_over_rest(
    symbol: str, exchange: BackpackExchange, stream: Stream, post: Post
) -> None:
    book = LocalBook(symbol)
    stream.watch([symbol])
    for _ in range(5):
        post("step", {"events": 40})
        follow(stream, book, exchange, equals_rest(book, exchange))
    assert book.book(1) is not None


@pytest.mark.parametrize(
    "fault",
    [{"kind": "lose", "probability": 0.2}, {"kind": "late", "probability": 0.5, "delay_ms": 100}],
    ids=["lost", "late"],
)
def test_a_book_whose_changes_are_lost_comes_back(
    fault: dict[str, object], exchange: BackpackExchange, stream: Stream, post: Post
) -> None:
    book = LocalBook(SYMBOL)
    stream.watch([SYMBOL])
    follow(stream, book, exchange, equals_rest(book, exchange))
    post("streams/faults", [fault | {"stream": "depth.*"}])
    gaps, deadline_s = 0, time.monotonic() + 30
    while gaps < 2:
        assert time.monotonic() < deadline_s
        for _ in range(3):
            post("step", {"events": 5})
        for event in stream.receive(0.05):
            if isinstance(event, BookChange):
                book.apply(event)
        if book.needs_snapshot:
            gaps += 1
            book.load(exchange.depth_snapshot(SYMBOL))
    post("streams/faults", [])
    # The next change shows whether the last one was lost.
    post("step", {"events": 5})
    follow(stream, book, exchange, equals_rest(book, exchange))


def test_doubled_changes_do_no_harm(exchange: BackpackExchange, stream: Stream, post: Post) -> None:
    book = LocalBook(SYMBOL)
    stream.watch([SYMBOL])
    follow(stream, book, exchange, equals_rest(book, exchange))
    post("streams/faults", [{"kind": "duplicate", "stream": "depth.*"}])
    post("step", {"events": 50})
    seen: list[int] = []
    deadline_s = time.monotonic() + 30
    while not _is_doubled(seen):
        assert time.monotonic() < deadline_s, seen
        for event in stream.receive(0.5):
            if isinstance(event, BookChange):
                book.apply(event)
                seen.append(event.last_update_id)
    # Never a snapshot again: it goes on with what comes.
    assert not book.needs_snapshot
    follow(stream, book, exchange, equals_rest(book, exchange))


def _is_doubled(update_ids: list[int]) -> bool:
    return len(update_ids) > len(set(update_ids))


def test_pulses_come_while_the_market_stands_still(stream: Stream) -> None:
    stream.watch([PERP, SYMBOL])
    marked = wait_for(stream, Pulse, lambda event: event.mark_price is not None)
    assert marked.symbol == PERP
    wait_for(stream, Pulse, lambda event: event.symbol == SYMBOL)
    stream.watch([SYMBOL])
    # While both are watched, there are pulses of the other between any two of this one.
    first, second = wait_for(stream, Pulse), wait_for(stream, Pulse)
    deadline_s = time.monotonic() + 30
    while {first.symbol, second.symbol} != {SYMBOL}:
        assert time.monotonic() < deadline_s
        first, second = second, wait_for(stream, Pulse)


@pytest.mark.parametrize("abort", [False, True], ids=["close frame", "reset"])
def test_a_lost_connection_is_told_and_can_be_opened_again(
    abort: bool, stream: Stream, exchange: BackpackExchange, instrument: Instrument, post: Post
) -> None:
    assert post("streams/disconnect", {"abort": abort})["closed"] >= 1
    with pytest.raises(StreamClosed):
        wait_for(stream, StreamRefused)
    stream.open()
    stream.watch([SYMBOL])
    wait_for(stream, Pulse)
    resting = placed(exchange.place([make_order(exchange, instrument)], authorize(exchange))[0])
    order_updates(stream, resting, OrderEvent.ACCEPTED)


def test_a_key_that_the_exchange_does_not_know_is_refused(new_stream: OpenStream) -> None:
    refused = wait_for(new_stream(credentials(b"\x77" * 32)), StreamRefused)
    assert refused.message

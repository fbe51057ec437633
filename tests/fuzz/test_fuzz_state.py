"""Whatever stands in the state server: it is read, passed over where that is safe, or an error of ours."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from runner.books import Books
from runner.loaded import parse_books
from runner.own_policy import own_policy
from runner.receipt import Asked, Receipt, Result
from runner.receipt_reading import read_receipt
from state import keys
from state.bookings import BookingQueue
from state.client_ids import ClientOrderId, client_order_ids, decode, intent_field, owns
from state.connection import StateError
from state.events import Events
from state.feeds import Feeds
from state.instances import Instances
from state.market_data import MarketData
from state.own_fills import OwnFills
from state.record import RECORD_FIELDS
from state.scripts import Scripts
from state.stop_policy import StopPolicy
from state.stop_story import flight_from_json, requests_from_json
from tests.factories import INSTANCE_ID, SLOT, SYMBOL, fill, instrument, loaded_instance, open_order
from tests.fuzz.fuzzing import NUMBERS, SLOW, TEXTS, broken, fuzz, spoiled, written

#: Bytes as Redis may hold them: also such as are no text.
raw_texts = st.one_of(
    st.sampled_from((*NUMBERS, *TEXTS)).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.binary(max_size=6),
    st.integers().map(lambda number: str(number).encode()),
)


def some_books() -> Books:
    books = Books()
    books.begin(1_000_000)
    books.add(open_order())
    books.count([fill()], instrument())
    return books


BOOKS = json.loads(some_books().model_dump_json())
POLICY = json.loads(StopPolicy().to_json())
RECEIPT = Receipt(
    result=Result.CLEAN,
    instance_id=INSTANCE_ID,
    epoch=1,
    account="acc",
    symbol=SYMBOL,
    slot=SLOT,
    config_version="v",
    started_at_ms=1,
    updated_at_ms=1,
    asked=(Asked(by="x", reason="y", at_ms=1, policy=StopPolicy()),),
    policy=StopPolicy(),
    in_flight=None,
    attempts=(),
    attempt_count=1,
    cancelled_order_ids=("1",),
    last_lists=(),
    orders_left=(),
    fence_ms=0,
    had_unresolved=False,
)


@pytest.mark.services
@fuzz(100, divisor=SLOW)
@given(fields=st.dictionaries(st.sampled_from(RECORD_FIELDS), raw_texts, max_size=5))
def test_a_record_is_read_or_an_error_that_names_it(
    fields: dict[str, bytes], redis_client: redis.Redis
) -> None:
    instances = Instances(redis_client, Scripts(redis_client))
    redis_client.delete(keys.record(INSTANCE_ID))
    redis_client.sadd(keys.INSTANCES, INSTANCE_ID)
    if fields:
        mapping: dict[Any, Any] = dict(fields)
        redis_client.hset(keys.record(INSTANCE_ID), mapping=mapping)
    told: list[str] = []
    found = instances.read_all(lambda name, error: told.append(f"{name} {error}"))
    try:
        record = instances.read(INSTANCE_ID)
    except StateError as error:
        assert INSTANCE_ID in str(error)
        assert len(told) == 1
    else:
        assert told == []
        assert found == (() if record is None else (record,))


@fuzz(100)
@given(text=st.one_of(spoiled(POLICY).map(lambda body: body.decode("utf-8", "replace")), st.text()))
def test_a_policy_that_is_damaged_cancels(text: str) -> None:
    policy = StopPolicy.from_json(text)
    assert all(isinstance(value, bool) for value in vars(policy).values())
    try:
        told = json.loads(text)["cancel_orders"]
    except (ValueError, TypeError, KeyError, RecursionError):
        told = True
    assert policy.cancel_orders or told is False


@fuzz(60)
@given(document=broken(BOOKS))
def test_books_are_read_or_an_error_of_ours(document: Any) -> None:
    try:
        books = parse_books(written(document))
    except StateError:
        return
    for order in books.orders.values():
        assert order.quantity.is_finite()
        assert order.executed.is_finite()
    assert Books.model_validate_json(books.model_dump_json()) == books


@fuzz(60)
@given(text=spoiled(json.loads(RECEIPT.model_dump_json())).map(lambda body: body.decode("utf-8", "replace")))
def test_a_receipt_is_read_or_refused(text: str) -> None:
    try:
        receipt = read_receipt(text)
    except ValueError:
        return
    assert read_receipt(receipt.model_dump_json()) == receipt


@fuzz(60)
@given(text=st.one_of(st.text(), st.sampled_from(NUMBERS), spoiled({"version": 1, "x": "y"}).map(repr)))
def test_a_strategy_state_is_read_or_an_error_of_ours(text: str) -> None:
    try:
        loaded_instance().parse_state(text)
    except StateError as error:
        assert str(error)


@fuzz(100)
@given(
    intents=st.lists(
        st.tuples(
            st.one_of(
                st.sampled_from(
                    ("0:0:1", "256:0:1", "0:4:1", "0:0:1024", "0:0", "", ":::", "-1:0:0", "1_0:0:0")
                ),
                st.text(),
            ),
            st.one_of(st.integers().map(str), st.sampled_from(NUMBERS)),
        )
    )
)
def test_intents_are_ids_of_the_slot_or_an_error_of_ours(intents: list[tuple[str, str]]) -> None:
    try:
        found = client_order_ids(SLOT, [text for pair in intents for text in pair])
    except StateError:
        return
    assert all(owns(SLOT, client_order_id) for client_order_id in found)


@fuzz(200)
@given(client_order_id=st.integers(0, 2**32 - 1))
def test_every_id_is_its_parts_and_the_parts_are_the_id(client_order_id: int) -> None:
    parts = decode(client_order_id)
    assert parts.encode() == client_order_id
    assert owns(parts.slot, client_order_id)
    assert not owns(parts.slot ^ 1, client_order_id)
    again = client_order_ids(parts.slot, [intent_field(client_order_id), "5"])
    assert again == {client_order_id: 5}


@fuzz(100)
@given(slot=st.integers(), level=st.integers(), generation=st.integers())
def test_parts_that_would_spill_into_another_are_refused(slot: int, level: int, generation: int) -> None:
    fits = 0 <= slot <= 4095 and 0 <= level <= 255 and 0 <= generation <= 1023
    try:
        made = ClientOrderId(slot=slot, level=level, role=decode(0).role, generation=generation)
    except ValueError as error:
        assert not fits
        assert "client order id" in str(error)
    else:
        assert fits
        assert 0 <= made.encode() < 2**32


@pytest.mark.services
@fuzz(60, divisor=SLOW)
@given(
    book=st.one_of(raw_texts, spoiled([[["99", "1"]], [["101", "1"]]])),
    changed_at=st.one_of(st.just(b"5"), raw_texts),
    received_at=st.one_of(st.just(b"5"), raw_texts),
)
def test_a_streamed_book_is_one_or_none(
    book: bytes, changed_at: bytes, received_at: bytes, redis_client: redis.Redis
) -> None:
    redis_client.hset(
        keys.market("x", SYMBOL),
        mapping={"changed_at": changed_at, "received_at": received_at, "book": book},
    )
    found = MarketData(redis_client, Scripts(redis_client)).read("x", SYMBOL)
    for level in (*found.book.bids, *found.book.asks) if found else ():
        assert level.price.is_finite()
        assert level.price > 0
        assert level.quantity > 0


@pytest.mark.services
@fuzz(60, divisor=SLOW)
@given(text=raw_texts)
def test_what_one_process_tells_of_itself_hides_no_other(text: bytes, redis_client: redis.Redis) -> None:
    scripts = Scripts(redis_client)
    events, feeds, fills = Events(redis_client), Feeds(redis_client, scripts), OwnFills(redis_client, scripts)
    for body in (text, b'{"at_ms":1}', b'{"at_ms":"x","queues":1,"accounts":[],"cannot_open":null}'):
        redis_client.hset(keys.WORKERS, "bad", body)
        redis_client.hset(keys.FEEDS, "bad", body)
    events.heartbeat("good", ("iterate",), 1_000)
    feeds.heartbeat("good", {"acc": "fine"}, at_ms=1_000)
    assert [worker.name for worker in events.workers(now_ms=1_000)] == ["good"]
    assert [process.name for process in feeds.processes(now_ms=1_000)] == ["good"]
    redis_client.delete(keys.own_fills(INSTANCE_ID), keys.BOOKINGS)
    redis_client.xadd(keys.own_fills(INSTANCE_ID), {"fill": text})
    redis_client.xadd(keys.own_fills(INSTANCE_ID), {"other": text})
    assert fills.seen(INSTANCE_ID, since_ms=0) == ()
    redis_client.xadd(keys.BOOKINGS, {"other": text})
    assert [entry.text for entry in BookingQueue(redis_client).oldest(10)] == [""]


def test_what_is_nested_too_deeply_is_damaged(redis_client: redis.Redis) -> None:
    # RecursionError, which is no ValueError; in a stop it would have come before the gate was closed.
    deep = "[" * 5_000
    assert requests_from_json(deep) == ()
    assert flight_from_json(deep) is None
    assert own_policy(deep) == StopPolicy()
    assert StopPolicy.from_json(deep) == StopPolicy()
    for key in (keys.WORKERS, keys.FEEDS):
        redis_client.hset(key, "bad", deep)
    assert Events(redis_client).workers(now_ms=1) == ()
    assert Feeds(redis_client, Scripts(redis_client)).processes(now_ms=1) == ()

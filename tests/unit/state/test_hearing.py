"""What feeds have heard of an account, and when."""

from __future__ import annotations

import pytest
import redis

from state import keys
from state.hearing import FILLED, HEARD, SINCE, Heard, Hearing, heard_of, read_place, touched
from state.leases import Place
from state.market_data import FIELDS
from state.scripts import Scripts
from tests.store_clock import START_MS, StoreClock


@pytest.fixture
def hearing(client: redis.Redis, scripts: Scripts) -> Hearing:
    return Hearing(scripts)


def kept(client: redis.Redis, account: str) -> object:
    return client.hgetall(keys.heard(account))


def test_a_stream_stands_since_it_was_begun_and_is_heard_as_of_what_came_last(
    hearing: Hearing, client: redis.Redis, clock: StoreClock
) -> None:
    hearing.begin("acc", "mine")
    assert kept(client, "acc") == {SINCE: str(START_MS), "by": "mine"}
    clock.advance(7)
    hearing.go_on("acc", "mine", lag_ms=3)
    assert kept(client, "acc") == {SINCE: str(START_MS), "by": "mine", HEARD: str(START_MS + 4)}
    assert kept(client, "another") == {}


def test_a_stream_that_is_begun_again_stands_since_then(
    hearing: Hearing, client: redis.Redis, clock: StoreClock
) -> None:
    hearing.begin("acc", "mine")
    clock.advance(7)
    hearing.begin("acc", "mine")
    assert kept(client, "acc") == {SINCE: str(START_MS + 7), "by": "mine"}


def test_what_one_feed_hears_does_not_prolong_the_stream_of_another(
    hearing: Hearing, client: redis.Redis, clock: StoreClock
) -> None:
    hearing.begin("acc", "first")
    hearing.begin("acc", "second")
    clock.advance(7)
    hearing.go_on("acc", "first", lag_ms=0)
    now = str(START_MS + 7)
    assert kept(client, "acc") == {SINCE: now, "by": "first", HEARD: now}


def test_the_end_of_one_feed_is_not_that_of_the_next_ones_stream(
    hearing: Hearing, client: redis.Redis
) -> None:
    hearing.begin("acc", "first")
    hearing.begin("acc", "second")
    hearing.interrupt("acc", "first")
    assert kept(client, "acc") == {SINCE: str(START_MS), "by": "second"}


def test_a_stream_whose_begin_is_lost_stands_since_it_is_heard(
    hearing: Hearing, client: redis.Redis, clock: StoreClock
) -> None:
    hearing.begin("acc", "mine")
    client.hdel(keys.heard("acc"), SINCE)
    clock.advance(7)
    hearing.go_on("acc", "mine", lag_ms=0)
    assert kept(client, "acc") == {SINCE: str(START_MS + 7), "by": "mine", HEARD: str(START_MS + 7)}


def test_a_damaged_note_gives_way_to_a_new_one(hearing: Hearing, client: redis.Redis) -> None:
    client.set(keys.heard("acc"), "nothing")
    hearing.go_on("acc", "mine", lag_ms=0)
    assert kept(client, "acc") == {SINCE: str(START_MS), "by": "mine", HEARD: str(START_MS)}
    client.set(keys.heard("acc"), "nothing")
    hearing.interrupt("acc", "mine")
    pipeline = client.pipeline()
    client.set(keys.heard("acc"), "nothing")
    hearing.queue(pipeline, "acc", is_filled=True, instance_ids=())
    pipeline.execute()
    assert kept(client, "acc") == {FILLED: str(START_MS)}


def test_an_interrupted_stream_stands_no_longer_and_what_was_heard_stays(
    hearing: Hearing, client: redis.Redis
) -> None:
    hearing.go_on("acc", "mine", lag_ms=0)
    hearing.begin("another", "mine")
    hearing.interrupt("acc", "mine")
    assert kept(client, "acc") == {"by": "mine", HEARD: str(START_MS)}
    assert kept(client, "another") == {SINCE: str(START_MS), "by": "mine"}


@pytest.mark.parametrize(
    ("is_filled", "instance_ids", "names"),
    [
        (True, ("a", "b"), {FILLED, touched("a"), touched("b")}),
        (True, (), {FILLED}),
        (False, ("a",), {touched("a")}),
    ],
)
def test_news_are_noted_with_the_pipeline_they_come_in(
    hearing: Hearing, client: redis.Redis, is_filled: bool, instance_ids: tuple[str, ...], names: set[str]
) -> None:
    pipeline = client.pipeline()
    hearing.queue(pipeline, "acc", is_filled=is_filled, instance_ids=instance_ids)
    assert kept(client, "acc") == {}
    pipeline.execute()
    assert kept(client, "acc") == dict.fromkeys(names, str(START_MS))


def test_no_news_ask_for_nothing(hearing: Hearing, client: redis.Redis) -> None:
    pipeline = client.pipeline()
    hearing.queue(pipeline, "acc", is_filled=False, instance_ids=())
    assert len(pipeline) == 0


def test_each_instance_has_a_name_of_its_own() -> None:
    # `claim.lua` makes this name itself.
    assert touched("a") == "orders of a"


def test_what_was_read_is_told_by_its_order_and_what_is_missing_is_zero() -> None:
    assert heard_of(["1", "2", "3", "4"]) == Heard(since_ms=1, heard_ms=2, filled_ms=3, touched_ms=4)
    assert heard_of([None, "", None, "4"]) == Heard(since_ms=0, heard_ms=0, filled_ms=0, touched_ms=4)


@pytest.mark.parametrize("times", [(), ("1", "2", "3"), ("1", "2", "3", "4", "5"), ("1", "lately", "3", "4")])
def test_what_is_damaged_is_none(times: tuple[str, ...]) -> None:
    assert heard_of(times) is None


PLACE = Place(venue="venue", symbol="SOL_USDC", account="acc")
MARKET = keys.market("venue", "SOL_USDC")


def test_a_place_is_read_as_a_claim_reads_it(client: redis.Redis) -> None:
    client.hset(MARKET, mapping={name: f"its {name}" for name in FIELDS[:4]})
    client.hset(keys.heard("acc"), mapping={SINCE: 1, HEARD: 2, FILLED: 3, touched("a"): 4, touched("b"): 5})
    heard = Heard(since_ms=1, heard_ms=2, filled_ms=3, touched_ms=4)
    assert read_place(client, PLACE, "a") == ((*(f"its {name}" for name in FIELDS[:4]), None), heard)


def test_of_a_damaged_place_nothing_is_known(client: redis.Redis) -> None:
    client.set(MARKET, "nothing")
    client.set(keys.heard("acc"), "nothing")
    assert read_place(client, PLACE, "a") == ((), None)

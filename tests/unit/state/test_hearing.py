"""What feeds have heard of an account, and when."""

from __future__ import annotations

import pytest
import redis

from state import keys
from state.hearing import FILLED, HEARD, SINCE, Heard, Hearing, heard_of, touched
from state.scripts import Scripts
from tests.store_clock import START_MS, StoreClock


@pytest.fixture
def hearing(client: redis.Redis, scripts: Scripts) -> Hearing:
    return Hearing(client, scripts)


def kept(client: redis.Redis, account: str) -> object:
    return client.hgetall(keys.heard(account))


def test_what_was_heard_is_kept_with_the_servers_time(
    hearing: Hearing, client: redis.Redis, clock: StoreClock
) -> None:
    hearing.note("acc", SINCE, HEARD)
    clock.advance(7)
    hearing.note("acc", HEARD)
    assert kept(client, "acc") == {SINCE: str(START_MS), HEARD: str(START_MS + 7)}
    assert kept(client, "another") == {}


def test_a_damaged_note_gives_way_to_a_new_one(hearing: Hearing, client: redis.Redis) -> None:
    client.set(keys.heard("acc"), "nothing")
    hearing.note("acc", HEARD)
    assert kept(client, "acc") == {HEARD: str(START_MS)}


def test_an_interrupted_stream_stands_no_longer_and_what_was_heard_stays(
    hearing: Hearing, client: redis.Redis
) -> None:
    hearing.note("acc", SINCE, HEARD)
    hearing.note("another", SINCE)
    hearing.interrupt("acc")
    assert kept(client, "acc") == {HEARD: str(START_MS)}
    assert kept(client, "another") == {SINCE: str(START_MS)}


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

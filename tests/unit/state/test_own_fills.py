"""Own fills on their way to the ledger and the instance, on the real server."""

from __future__ import annotations

from dataclasses import replace

import pytest
import redis

from state import keys
from state.bookings import BookingQueue
from state.hearing import FILLED, touched
from state.instances import Instances
from state.own_fills import News, OwnFills
from state.scripts import Scripts
from tests.factories import fill


@pytest.fixture
def own_fills(client: redis.Redis, scripts: Scripts) -> OwnFills:
    for name in ("a", "b"):
        Instances(client, scripts).start(
            name, config_version="v", config_json="{}", slot=1, account="acc", by="test"
        )
    return OwnFills(client, scripts)


def booked(client: redis.Redis) -> list[str]:
    return [entry.text for entry in BookingQueue(client).oldest(9)]


def test_the_ledger_hears_everything_and_an_instance_of_its_own_fills(
    client: redis.Redis, own_fills: OwnFills
) -> None:
    first, second, third = (fill(number) for number in "123")
    answers = own_fills.tell(
        [
            News(booking="1", instance_id="b", fill=first),
            News(booking="2", instance_id="a"),
            News(booking="3", fill=second),
            News(booking="4", instance_id="b", fill=third),
        ]
    )
    assert answers == {"b": "woken"}
    assert booked(client) == ["1", "2", "3", "4"]
    assert own_fills.seen("b", since_ms=0) == (first, third)
    assert own_fills.seen("a", since_ms=0) == ()
    assert client.exists(keys.own_fills("")) == 0


def test_each_instance_is_woken_once_and_told_how(client: redis.Redis, own_fills: OwnFills) -> None:
    client.hset(keys.record("b"), "phase", "stopped")
    news = [News(booking="x", instance_id=name, fill=fill(name)) for name in ("b", "a", "b")]
    assert own_fills.tell(news) == {"b": "stale", "a": "woken"}
    assert own_fills.wake("b") == "stale"
    assert own_fills.wake("a") == "joined"


def test_nothing_is_nothing(client: redis.Redis, own_fills: OwnFills) -> None:
    before = sorted(client.keys())
    assert own_fills.tell([]) == {}
    assert sorted(client.keys()) == before


def test_what_is_told_in_one_go_is_told_whole_or_not_at_all(
    client: redis.Redis, own_fills: OwnFills, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    pipeline = client.pipeline

    def noting(*, transaction: bool) -> object:
        asked.append(transaction)
        return pipeline(transaction=transaction)

    monkeypatch.setattr(client, "pipeline", noting)
    own_fills.tell([News(booking="1", instance_id="a", fill=fill())])
    assert asked == [True]


def test_only_what_came_since_then_is_seen_and_what_cannot_be_read_is_not(
    client: redis.Redis, own_fills: OwnFills
) -> None:
    for at_ms, text in ((5, "{"), (6, None), (7, "")):
        client.xadd(keys.own_fills("a"), {"fill": text} if text is not None else {"x": "y"}, id=f"{at_ms}-0")
    own_fills.tell([News(booking="1", instance_id="a", fill=fill())])
    assert own_fills.seen("a", since_ms=6) == (fill(),)
    ((entry, *_),) = client.xrange(keys.own_fills("a"), min=8)  # type: ignore[misc]
    at_ms = int(str(entry).partition("-")[0])
    assert own_fills.seen("a", since_ms=at_ms) == (fill(),)
    assert own_fills.seen("a", since_ms=at_ms + 1) == ()


def test_fills_do_not_pile_up(own_fills: OwnFills, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("state.own_fills.KEPT", 50)
    several = [replace(fill(), trade_id=str(number)) for number in range(200)]
    own_fills.tell([News(booking="x", instance_id="a", fill=each) for each in several])
    assert 50 <= len(own_fills.seen("a", since_ms=0)) < 150


def test_the_newest_run_is_known_by_epoch_and_begin(client: redis.Redis, own_fills: OwnFills) -> None:
    assert own_fills.run_of("nobody") == (0, 0)
    client.hset(keys.record("a"), mapping={"epoch": 3, "started_at": 7})
    assert own_fills.run_of("a") == (3, 7)


def heard(client: redis.Redis, account: str) -> set[object]:
    return set(client.hkeys(keys.heard(account)))


def test_of_each_account_it_is_heard_what_happened_to_whose_orders(
    client: redis.Redis, own_fills: OwnFills
) -> None:
    own_fills.tell(
        [
            News(booking="1", account="one", instance_id="a", fill=fill("1")),
            News(booking="2", account="one", instance_id="b"),
            News(booking="3", account="two", instance_id="c"),
            News(booking="4", account="two"),
            News(booking="5", account="three", is_execution=True),
            News(booking="6", account="four", fill=fill("2")),
            News(booking="7", instance_id="a", fill=fill("3")),
        ]
    )
    assert heard(client, "one") == {FILLED, touched("a"), touched("b")}
    assert heard(client, "two") == {touched("c")}
    assert heard(client, "three") == {FILLED}
    assert heard(client, "four") == {FILLED}
    assert heard(client, "") == set()


def test_what_is_heard_is_no_answer_to_a_wake_up(client: redis.Redis, own_fills: OwnFills) -> None:
    told = News(booking="1", account="acc", instance_id="a", fill=fill())
    assert own_fills.tell([told, News(booking="2", account="acc", instance_id="b")]) == {"a": "woken"}

"""Sending from an outbox in a real server to a receiver on a real socket."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from alerts.config import Target
from alerts.delivery import LONGEST_BACKOFF_S, LOOK_S, Delivery
from alerts.memory import Message
from alerts.phrases import Phrases
from state import keys
from state.alerts import Alerts
from state.scripts import Scripts
from tests.webhook import Receiver, webhook_receiver

TOKEN = "abc"


def message(number: int, at_ms: int = 1_000) -> Message:
    return Message(id=str(number), rule="r", title=f"title {number}", body="b", looks="info", at_ms=at_ms)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with webhook_receiver() as found:
        yield found


class Bench:
    """One target, and a clock."""

    def __init__(self, client: redis.Redis, receiver: Receiver) -> None:
        self.client = client
        self.alerts = Alerts(client, Scripts(client))
        self.may_send = True
        self.now_ms = 2_000
        assert self.alerts.hold(TOKEN)
        self.delivery = Delivery(
            "hook",
            Target(url=receiver.url("/hook"), timeout_s=20, give_up_after_s=60),
            self.alerts,
            may_send=lambda: self.may_send,
            now_ms=lambda: self.now_ms,
            phrases=Phrases("en"),
        )

    def queue(self, *messages: Message) -> None:
        assert self.alerts.save(TOKEN, "{}", [("hook", each.model_dump_json()) for each in messages])


@pytest.fixture
def bench(redis_client: redis.Redis, receiver: Receiver) -> Bench:
    return Bench(redis_client, receiver)


def test_messages_are_sent_in_order_and_taken_out(bench: Bench, receiver: Receiver) -> None:
    bench.queue(message(1), message(2))
    assert [bench.delivery.step() for _ in range(3)] == [0.0, 0.0, LOOK_S]
    assert receiver.titles() == ["title 1", "title 2"]
    assert bench.alerts.waiting("hook") == 0
    assert receiver.got()[0]["message"] == "b\nalert 1"


def test_one_that_fails_lets_the_next_go_first_and_is_tried_again(bench: Bench, receiver: Receiver) -> None:
    bench.queue(message(1), message(2))
    receiver.answers["/hook"] = 500
    assert bench.delivery.step() == 1.0
    receiver.answers.clear()
    assert [bench.delivery.step() for _ in range(2)] == [0.0, 0.0]
    assert receiver.titles() == ["title 1", "title 2", "title 1"]


def test_the_pause_grows_to_a_minute(bench: Bench, receiver: Receiver) -> None:
    bench.queue(message(1))
    receiver.answers["/hook"] = 500
    pauses = [bench.delivery.step() for _ in range(9)]
    assert pauses[:4] == [1.0, 2.0, 4.0, 8.0]
    assert pauses[-1] == LONGEST_BACKOFF_S


def test_an_old_message_that_fails_is_given_up(bench: Bench, receiver: Receiver) -> None:
    bench.queue(message(1))
    receiver.answers["/hook"] = 500
    bench.now_ms = 1_000 + 60_001
    bench.delivery.step()
    assert bench.alerts.waiting("hook") == 0


def test_without_the_lease_nothing_is_sent(bench: Bench, receiver: Receiver) -> None:
    bench.queue(message(1))
    bench.may_send = False
    assert bench.delivery.step() == LOOK_S
    assert receiver.got() == []
    bench.delivery.send_directly(message(2))
    assert bench.delivery.step() == 0.0
    assert receiver.titles() == ["title 2"], "what is about the state server does not wait for it"


def test_a_damaged_message_holds_up_nobody(bench: Bench, receiver: Receiver) -> None:
    bench.client.rpush(keys.alerts_outbox("hook"), "{")
    bench.queue(message(1))
    assert [bench.delivery.step() for _ in range(2)] == [0.0, 0.0]
    assert receiver.titles() == ["title 1"]


def test_nothing_is_saved_or_queued_without_the_lease(bench: Bench) -> None:
    bench.queue(message(1))
    bench.alerts.release(TOKEN)
    assert not bench.alerts.save("another", '{"number": 1}', [("hook", "x")])
    assert bench.alerts.hold("another")
    assert not bench.alerts.save(TOKEN, '{"number": 1}', [("hook", "x")])
    assert (bench.alerts.memory(), bench.alerts.waiting("hook")) == ("{}", 1)


def test_an_outbox_does_not_grow_for_ever(bench: Bench) -> None:
    bench.queue(*(message(number) for number in range(600)))
    assert bench.alerts.waiting("hook") == 500
    assert Message.model_validate_json(bench.alerts.first("hook")).id == "100"

"""What is wrong now, read from a real server: silence, failures, lost feeds and exchanges."""

from __future__ import annotations

import json

import pytest
import redis

from alerts.kinds import Kind
from alerts.phrases import Phrases
from alerts.watching import SETTLED_S, Standing, Watch
from state import keys
from state.feeds import Feeds
from state.instances import Instances
from state.queues import iterate_queue
from state.scripts import Scripts
from state.stop_policy import StopPolicy

ACCOUNT = "backpack-simulated:test"


class Bench:
    """Instances, workers and feeds as a test says, and a watch whose clock it moves."""

    def __init__(self, client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
        self.client = client
        scripts = Scripts(client)
        self.instances = Instances(client, scripts)
        self.feeds = Feeds(client, scripts)
        self.watch = Watch(client)
        self.had_feed = False
        self.now_s = 100.0
        monkeypatch.setattr("alerts.watching.time.monotonic", lambda: self.now_s)
        self.beat("iterate", "cleanup")

    def beat(self, *queues: str, age_ms: int = 0) -> None:
        at_ms = self.instances.now_ms() - age_ms
        self.client.hset(keys.WORKERS, "w", json.dumps({"queues": queues, "at_ms": at_ms}))

    def start(self, name: str = "a_01", **fields: object) -> None:
        started = self.instances.start(
            name, config_version="v", config_json="{}", slot=1, account=ACCOUNT, by="test"
        )
        assert started.started
        # Not due for a while: it owes nothing.
        self.put(name, due=self.instances.now_ms() + 60_000, **fields)

    def put(self, name: str = "a_01", **fields: object) -> None:
        for field, value in fields.items():
            self.client.hset(keys.record(name), field, str(value))

    def standings(self) -> tuple[Standing, ...]:
        look = self.watch.look(had_feed=self.had_feed)
        self.had_feed = look.had_feed
        return look.standings

    def kinds(self) -> list[tuple[Kind, str]]:
        return [(each.kind, each.subject) for each in self.standings() if not each.is_unsure]


@pytest.fixture
def bench(redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(redis_client, monkeypatch)


def test_nothing_is_wrong_with_a_run_that_waits(bench: Bench) -> None:
    bench.start()
    assert bench.kinds() == []


def test_a_run_that_is_due_and_not_worked_on_is_silent_after_a_while(bench: Bench) -> None:
    bench.start()
    bench.put(due=bench.instances.now_ms() - 5_000)
    (young,) = bench.standings()
    assert young.is_unsure
    bench.now_s += SETTLED_S + 20
    (old,) = bench.standings()
    assert (old.kind, old.subject, old.is_unsure) == (Kind.NO_HEARTBEAT, "a_01", False)
    assert old.since_ms <= bench.instances.now_ms() - 20_000
    bench.put(seq=1)
    (again,) = bench.standings()
    assert again.is_unsure, "somebody has worked: the silence begins anew"


def test_a_live_lease_is_life(bench: Bench) -> None:
    bench.start(lease_until=bench.instances.now_ms() + 5_000)
    bench.put(due=0)
    bench.now_s += 100
    assert bench.kinds() == []


def test_queues_without_workers_are_told_once_they_are_needed(bench: Bench) -> None:
    bench.beat("iterate", "cleanup", age_ms=60_000)
    assert bench.kinds() == []
    bench.start()
    assert bench.kinds() == [(Kind.NO_HEARTBEAT, "queue iterate")]


def test_where_iterations_are_divided_a_worker_of_another_part_is_none(bench: Bench) -> None:
    assert iterate_queue(ACCOUNT, 2) == "iterate.1of2"
    bench.start()
    bench.beat("iterate.2of2", "cleanup")
    assert bench.kinds() == [(Kind.NO_HEARTBEAT, "queue iterate")]
    bench.beat("iterate.1of2", "cleanup")
    assert bench.kinds() == []


def test_iterations_that_fail_and_an_exchange_that_is_away(bench: Bench) -> None:
    bench.start(errors=2, last_error="ValueError: no")
    assert bench.kinds() == []
    bench.put(errors=3)
    assert bench.kinds() == [(Kind.ITERATIONS_FAILING, "a_01")]
    bench.put(errors=1, last_error="Unavailable: no connection")
    (down,) = bench.standings()
    assert (down.kind, down.subject) == (Kind.EXCHANGE_DOWN, ACCOUNT)
    assert "a_01" in Phrases("en").tell(down.text)
    bench.put(errors=0)
    assert bench.kinds() == []


def test_a_failed_stop_is_told_and_its_silence_is_not(bench: Bench) -> None:
    bench.start()
    bench.instances.request_stop("a_01", by="t", reason="t", policy=StopPolicy())
    bench.put(phase="failed")
    bench.now_s += 1000
    assert bench.kinds() == [(Kind.STOP_NOT_CLEAN, "a_01")]


def test_a_feed_is_missed_only_where_there_was_one(bench: Bench) -> None:
    bench.start()
    assert bench.kinds() == []
    bench.feeds.heartbeat("f", {ACCOUNT: "streaming"}, at_ms=bench.instances.now_ms())
    assert bench.kinds() == []
    bench.feeds.heartbeat("f", {ACCOUNT: "reconnecting"}, at_ms=bench.instances.now_ms())
    assert bench.kinds() == [(Kind.FEED_DOWN, ACCOUNT)]
    bench.feeds.heartbeat("f", {}, at_ms=bench.instances.now_ms())
    assert bench.kinds() == [(Kind.FEED_DOWN, ACCOUNT)]
    bench.feeds.forget("f")
    assert bench.kinds() == [(Kind.FEED_DOWN, "all feeds")]
    bench.put(phase="stopped")
    assert bench.kinds() == []


def test_time_is_not_asked_of_the_wall(bench: Bench) -> None:
    """A clock that jumps makes nobody silent: only the monotonic one counts."""
    bench.start()
    bench.put(due=bench.instances.now_ms() - 3_600_000)
    assert bench.kinds() == []

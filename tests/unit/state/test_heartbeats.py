"""Signs of life as they stand in Redis, and what they mean."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import pytest
import redis

from state import keys
from state.heartbeats import Heartbeat, Heartbeats, Pulse
from state.record import Phase

PULSE = Pulse(epoch=1, seq=2, committed_at_ms=3, lease_until_ms=4, cleanup_until_ms=5, attempts=6)
RECORD = {
    "phase": "running",
    "epoch": "1",
    "slot": "7",
    "account": "acc",
    "config_version": "v",
    "seq": "2",
    "due": "8",
    "committed_at": "3",
    "lease_until": "4",
    "cleanup_until": "5",
    "attempts": "6",
    "order_ids": "1,2",
    "errors": "9",
    "last_error": "oh",
}
BEAT = Heartbeat(
    instance_id="mm",
    phase=Phase.RUNNING,
    slot=7,
    account="acc",
    config_version="v",
    due_at_ms=8,
    keeps_orders=False,
    order_ids=("1", "2"),
    pulse=PULSE,
    errors=9,
    last_error="oh",
)


def beat_of(client: redis.Redis, **fields: str) -> Heartbeat | None:
    """Return what is made of a record."""
    client.hset(keys.record("mm"), mapping=cast("Any", fields))
    return Heartbeats(client).read_some(["mm"]).beats.get("mm")


def test_a_record_is_read_whole(client: redis.Redis) -> None:
    assert beat_of(client, **RECORD) == BEAT


def test_what_is_not_there_has_never_been(client: redis.Redis) -> None:
    needed = {name: RECORD[name] for name in ("phase", "epoch", "slot", "account", "config_version")}
    nothing = Pulse(epoch=1, seq=0, committed_at_ms=0, lease_until_ms=0, cleanup_until_ms=0, attempts=0)
    assert beat_of(client, **needed) == replace(
        BEAT, due_at_ms=0, order_ids=(), pulse=nothing, errors=0, last_error=""
    )


@pytest.mark.parametrize(
    ("policy", "keeps"),
    [('{"cancel_orders":false}', True), ('{"cancel_orders":true}', False), ("{", False), ("", False)],
)
def test_a_stop_may_keep_orders(client: redis.Redis, policy: str, keeps: bool) -> None:
    found = beat_of(client, **RECORD, stop_policy=policy)
    assert found is not None
    assert found.keeps_orders is keeps


@pytest.mark.parametrize(
    ("field", "text"),
    [("phase", "asleep"), ("epoch", "x"), ("slot", ""), ("seq", "y"), ("due", "soon"), ("attempts", "nan")],
)
def test_a_damaged_record_shows_no_life(client: redis.Redis, field: str, text: str) -> None:
    assert beat_of(client, **(RECORD | {field: text})) is None


@pytest.mark.parametrize("field", ["phase", "epoch", "slot", "account", "config_version"])
def test_nor_does_one_that_lacks_what_it_needs(client: redis.Redis, field: str) -> None:
    assert beat_of(client, **{name: text for name, text in RECORD.items() if name != field}) is None


def test_all_instances_are_read_and_those_that_are_known(client: redis.Redis) -> None:
    for name in ("a", "b", "c"):
        client.hset(keys.record(name), mapping=cast("Any", RECORD))
    client.set(keys.record("odd"), "x")
    client.sadd(keys.INSTANCES, "a", "odd")
    heartbeats = Heartbeats(client)
    assert sorted(heartbeats.read().beats) == ["a"]
    assert sorted(heartbeats.read(["c", "gone"]).beats) == ["a", "c"]
    assert heartbeats.read_some(["b"]).beats == {"b": replace(BEAT, instance_id="b")}


def test_the_servers_time_is_read_beside_them(client: redis.Redis) -> None:
    seconds, _ = client.time()
    assert seconds * 1000 <= Heartbeats(client).read().now_ms <= seconds * 1000 + 60_000


class Pipeline:
    """Answers as a test says."""

    def __init__(self, answers: list[object]) -> None:
        self._answers = answers

    def __getattr__(self, _: str) -> object:
        return lambda *_: None

    def execute(self, *, raise_on_error: bool) -> list[object]:
        """Answer."""
        assert not raise_on_error
        return self._answers


def answering(client: redis.Redis, monkeypatch: pytest.MonkeyPatch, *answers: object) -> Heartbeats:
    def pipeline(*, transaction: bool) -> Pipeline:
        assert not transaction
        return Pipeline(list(answers))

    monkeypatch.setattr(client, "pipeline", pipeline)
    return Heartbeats(client)


def test_milliseconds_are_counted_whole(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    assert answering(client, monkeypatch, ("5", "999998"), {}).read_some([]).now_ms == 5_999


def test_a_server_without_a_clock_is_out_of_reach(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(redis.ConnectionError):
        answering(client, monkeypatch, redis.ConnectionError("away"), {}).read_some([])


def test_the_newest_worker_of_each_queue_counts(client: redis.Redis) -> None:
    def told() -> Iterator[tuple[str, str]]:
        yield "0", "{"
        yield "1", json.dumps({"queues": ["iterate", "cleanup"], "at_ms": 5})
        yield "2", json.dumps({"queues": ["iterate"], "at_ms": 7})
        yield "3", json.dumps({"queues": ["cleanup"], "at_ms": 3})
        for name, text in enumerate(("{", "7", "{}", '{"queues":["x"]}', "[" * 100_000)):
            yield f"odd {name}", text

    client.hset(keys.WORKERS, mapping=cast("Any", dict(told())))
    assert Heartbeats(client).read().workers == {"iterate": 7, "cleanup": 5}


def test_a_list_of_workers_of_another_type_is_none(client: redis.Redis) -> None:
    client.set(keys.WORKERS, "x")
    assert Heartbeats(client).read().workers == {}


def test_the_configuration_is_empty_where_there_is_none(client: redis.Redis) -> None:
    assert Heartbeats(client).config_json("mm") == ""
    client.set(keys.config("mm"), "{}")
    assert Heartbeats(client).config_json("mm") == "{}"


@pytest.mark.parametrize("field", ["epoch", "seq", "committed_at_ms", "lease_until_ms", "cleanup_until_ms"])
@pytest.mark.parametrize("by", [1, -1])
def test_whatever_changes_is_work(field: str, by: int) -> None:
    other = replace(PULSE, **{field: getattr(PULSE, field) + by})
    assert other.is_newer_than(PULSE)
    assert not PULSE.is_newer_than(PULSE)


@pytest.mark.parametrize(("attempts", "is_work"), [(7, True), (5, True), (6, False), (0, False), (1, True)])
def test_attempts_that_begin_anew_are_no_work(attempts: int, is_work: bool) -> None:
    assert replace(PULSE, attempts=attempts).is_newer_than(PULSE) is is_work


@pytest.mark.parametrize("lease", ["lease_until_ms", "cleanup_until_ms"])
@pytest.mark.parametrize("phase", list(Phase))
def test_under_a_live_lease_nothing_is_owed(lease: str, phase: Phase) -> None:
    idle = replace(PULSE, lease_until_ms=0, cleanup_until_ms=0)
    beat = replace(BEAT, phase=phase, due_at_ms=0, pulse=replace(idle, **{lease: 100}))
    assert beat.owes_nothing(99)
    assert beat.owes_nothing(100) is (phase is Phase.STOPPED)


@pytest.mark.parametrize(("phase", "owes_nothing"), [(Phase.RUNNING, True), (Phase.STOPPING, False)])
def test_only_what_runs_waits_until_it_is_due(phase: Phase, owes_nothing: bool) -> None:
    beat = replace(BEAT, phase=phase, due_at_ms=101)
    assert beat.owes_nothing(100) is owes_nothing
    assert not beat.owes_nothing(101)


def test_what_is_not_said_is_nothing() -> None:
    told = {name: getattr(BEAT, name) for name in BEAT.__dataclass_fields__ if "error" not in name}
    assert (Heartbeat(**told).errors, Heartbeat(**told).last_error) == (0, "")

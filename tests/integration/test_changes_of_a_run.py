"""What pausing, resuming and another configuration do to the record of a run, and what they leave alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from state import keys
from state.due import RESEND_MS, IterateAgain
from state.durability import Keeps
from state.run_changes import ChangeResult, RunChanges
from state.scripts import Reply
from tests.integration.state_bench import LEASE_MS, NAME, StateBench

CHANGES = ("pause", "resume", "change_config")
#: What does nothing before the next iteration, and asks for it.
ASKS = ("resume", "change_config")


def change(bench: StateBench, what: str, *, epoch: int = 1, version: str = "v1") -> ChangeResult:
    """Make one of the changes."""
    changes = RunChanges(bench.client, bench.clock.scripts)
    match what:
        case "pause":
            return changes.pause(NAME, by="somebody", reason="news", epoch=epoch)
        case "resume":
            return changes.resume(NAME, by="somebody", epoch=epoch)
    return changes.change_config(
        NAME,
        epoch=epoch,
        base_version=version,
        version="v2",
        config_json='{"new":1}',
        by="somebody",
        changed_json="[]",
    )


def told(bench: StateBench, what: str) -> Reply:
    """Return the answer of the script itself, which is asked once only."""
    replies: list[Reply] = []

    def noting(ask: Callable[..., Reply]) -> Callable[..., Reply]:
        def call(*arguments: object) -> Reply:
            replies.append(ask(*arguments))
            return replies[-1]

        return call

    scripts = bench.clock.scripts
    scripts.call = noting(scripts.call)  # type: ignore[method-assign]
    change(bench, what, epoch=0)
    return replies[0]


def ready_for(bench: StateBench, what: str) -> None:
    """Let an iteration end, and pause the run that is to be resumed, with nothing owed."""
    bench.iterate()
    if what == "resume":
        change(bench, "pause")
        bench.client.hset(keys.record(NAME), "withdrawn", bench.clock.now_ms)
    bench.client.delete(keys.WAKE)


@pytest.mark.parametrize("what", CHANGES)
def test_a_damaged_record_is_told_and_not_worked_with(bench: StateBench, what: str) -> None:
    bench.client.hset(keys.record(NAME), "tick", "many")
    assert told(bench, what) == ["damaged", 0, bench.clock.now_ms]
    assert bench.record.phase == "failed"


@pytest.mark.parametrize("what", CHANGES)
def test_what_never_ran_is_stopped_and_not_damaged(bench: StateBench, what: str) -> None:
    bench.client.delete(keys.record(NAME))
    assert told(bench, what) == ["stopped", 0, bench.clock.now_ms]
    assert bench.client.exists(keys.record(NAME)) == 0


@pytest.mark.parametrize("what", CHANGES)
def test_another_run_than_the_one_that_was_meant_is_left_alone(bench: StateBench, what: str) -> None:
    ready_for(bench, what)
    before = bench.client.hgetall(keys.record(NAME))
    found = change(bench, what, epoch=2)
    assert (found.result, found.epoch, found.at_ms) == ("stale", 1, bench.clock.now_ms)
    assert bench.client.hgetall(keys.record(NAME)) == before


@pytest.mark.parametrize("what", CHANGES)
def test_a_run_that_ends_is_left_alone(bench: StateBench, what: str) -> None:
    ready_for(bench, what)
    bench.stop()
    before = bench.client.hgetall(keys.record(NAME))
    found = change(bench, what)
    assert (found.result, found.epoch, found.at_ms) == ("stopping", 1, bench.clock.now_ms)
    assert bench.client.hgetall(keys.record(NAME)) == before


def test_only_a_paused_run_is_resumed(bench: StateBench) -> None:
    before = bench.client.hgetall(keys.record(NAME))
    found = change(bench, "resume")
    assert (found.result, found.epoch, found.at_ms) == ("running", 1, bench.clock.now_ms)
    assert bench.client.hgetall(keys.record(NAME)) == before


def test_a_change_made_from_another_configuration_is_refused(bench: StateBench) -> None:
    before = bench.client.hgetall(keys.record(NAME))
    found = change(bench, "change_config", version="v0")
    assert (found.result, found.epoch, found.at_ms) == ("conflict", 1, bench.clock.now_ms)
    assert bench.client.hgetall(keys.record(NAME)) == before
    assert bench.client.get(keys.config(NAME)) == "{}"


@pytest.mark.parametrize(
    ("what", "result", "event"),
    [
        ("pause", "paused", {"event": "paused", "reason": "news"}),
        ("resume", "resumed", {"event": "resumed"}),
        (
            "change_config",
            "changed",
            {"event": "config_changed", "from": "v1", "to": "v2", "changed": "[]"},
        ),
    ],
)
def test_who_did_it_and_when_is_an_event(
    bench: StateBench, what: str, result: str, event: dict[str, str]
) -> None:
    ready_for(bench, what)
    bench.clock.advance(5)
    found = change(bench, what)
    assert (found.result, found.epoch, found.at_ms) == (result, 1, bench.clock.now_ms)
    newest = bench.client.xrevrange(keys.EVENTS, count=1)
    assert [fields for _, fields in newest] == [  # type: ignore[union-attr]
        {"instance": NAME, "epoch": "1", "by": "somebody", "at_ms": str(bench.clock.now_ms), **event}
    ]


def test_another_configuration_is_there_with_its_version(bench: StateBench) -> None:
    change(bench, "change_config")
    found = RunChanges(bench.client, bench.clock.scripts).config_of_run(NAME)
    assert (found.epoch, found.version, found.config_json) == (1, "v2", '{"new":1}')


def test_nothing_of_a_pause_is_left_of_a_run_that_is_resumed(bench: StateBench) -> None:
    ready_for(bench, "resume")
    names = ["paused", "paused_by", "pause_reason", "withdrawn", "quiet"]
    assert None not in bench.client.hmget(keys.record(NAME), names)
    change(bench, "resume")
    assert bench.client.hmget(keys.record(NAME), names) == [None] * len(names)


@pytest.mark.parametrize("what", ["pause", "resume"])
@pytest.mark.parametrize("keeps", [Keeps.ALWAYS, Keeps.EVERYSEC])
def test_the_disk_is_waited_for_only_where_it_may_forget(
    redis_client: redis.Redis, keeps: Keeps, what: str
) -> None:
    bench = StateBench(redis_client, keeps)
    ready_for(bench, what)
    bench.client.hdel(keys.record(NAME), "unsaved")
    bench.clock.advance(5)
    change(bench, what)
    waits_for = f"{what} {bench.clock.now_ms}" if keeps is Keeps.EVERYSEC else None
    assert bench.client.hget(keys.record(NAME), "unsaved") == waits_for


@pytest.mark.parametrize("what", CHANGES)
def test_a_sweeper_is_called_at_once_and_calls_do_not_pile_up(bench: StateBench, what: str) -> None:
    ready_for(bench, what)
    bench.client.rpush(keys.WAKE, *["x"] * 1_000)
    change(bench, what)
    waiting = bench.client.lrange(keys.WAKE, 0, -1)
    assert waiting == [NAME, *["x"] * 999]


@pytest.mark.parametrize("what", CHANGES)
def test_its_message_is_published_again_as_soon_as_any_other(bench: StateBench, what: str) -> None:
    ready_for(bench, what)
    bench.client.hset(keys.record(NAME), "resends", 4)
    change(bench, what)
    assert bench.due_score() == bench.clock.now_ms
    assert isinstance(bench.sweep(), IterateAgain)
    assert bench.due_score() == bench.clock.now_ms + RESEND_MS


@pytest.mark.parametrize("what", ASKS)
@pytest.mark.parametrize("before_end_ms", [1, 0])
def test_it_follows_the_iteration_that_runs_until_the_last_moment_of_its_lease(
    bench: StateBench, what: str, before_end_ms: int
) -> None:
    ready_for(bench, what)
    bench.claim(None)
    bench.clock.advance(LEASE_MS - before_end_ms)
    score = bench.due_score()
    change(bench, what)
    marks = bench.client.hmget(keys.record(NAME), ["again", "woken"])
    if before_end_ms:
        assert (marks, bench.due_score()) == (["1", None], score)
    else:
        assert (marks, bench.due_score()) == ([None, str(bench.clock.now_ms)], bench.clock.now_ms)


@pytest.mark.parametrize("what", ASKS)
def test_after_an_error_the_back_off_holds(bench: StateBench, what: str) -> None:
    ready_for(bench, what)
    bench.client.hset(keys.record(NAME), "errors", 1)
    score = bench.due_score()
    change(bench, what)
    assert bench.client.hmget(keys.record(NAME), ["again", "woken"]) == [None, None]
    assert bench.due_score() == score
    assert bench.client.lrange(keys.WAKE, 0, -1) == []

"""When a command that follows stops runs cleanups itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cli.follow import Follower
from runner.stop_progress import Ending, StopProgress
from state.events import Event

#: Nobody may have taken a cleanup for so long; a deadline of the bench's, no promise.
PATIENCE_S = 0.3
HERE = "somebody@here"


class Direct:
    """Stands for the cleanups of this process, and runs none."""

    def __init__(self, *, is_full: bool = False) -> None:
        self.by = HERE
        self.is_full = is_full
        self.problems: dict[str, str] = {}
        self.started: list[str] = []

    def is_running(self, name: str) -> bool:
        return name in self.started

    def start(self, name: str, _: int) -> None:
        self.started.append(name)


def claimed(name: str, by: str) -> Event:
    return Event(
        stream_id="1-1", event="cleanup_claimed", instance_id=name, epoch=1, at_ms=1, fields={"by": by}
    )


def follow(
    monkeypatch: pytest.MonkeyPatch, direct: Direct, events: Callable[[], Sequence[Event]], *, seconds: float
) -> StopProgress:
    """Follow the stop of `mm_02`, of which nothing is heard, by a clock that moves with each look."""
    now_s = [0.0]
    monkeypatch.setattr("cli.follow.time", SimpleNamespace(monotonic=lambda: now_s[0]))

    def read(_: str, *, block_ms: int) -> Sequence[Event]:
        del block_ms
        now_s[0] += 0.1
        return events()

    session = SimpleNamespace(
        events=SimpleNamespace(read=read),
        instances=SimpleNamespace(read=lambda _: SimpleNamespace(epoch=1, phase="stopping", outcome="")),
        settings=SimpleNamespace(cleanup_lease_ms=6000),
    )
    stop = StopProgress(instance_id="mm_02", epoch=1, requested_at_ms=0)
    display = SimpleNamespace(seen=lambda *_: None, say=lambda _: None)
    Follower(
        cast("Any", session),
        [stop],
        position="0",
        display=cast("Any", display),
        direct=cast("Any", direct),
        request_again=lambda _: None,
        direct_after_s=PATIENCE_S,
    ).run(seconds)
    return stop


def test_what_nobody_takes_is_cleaned_up_here(monkeypatch: pytest.MonkeyPatch) -> None:
    direct = Direct()
    stop = follow(monkeypatch, direct, lambda: (), seconds=1.0)
    assert direct.started == ["mm_02"]
    assert stop.ending is Ending.NOT_CLEAN


def test_a_queue_that_moves_is_left_to_its_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    direct = Direct()
    follow(monkeypatch, direct, lambda: (claimed("mm_01", "worker cleanup@host"),), seconds=5.0)
    assert direct.started == []


def test_cleanups_of_this_process_do_not_make_the_queue_move(monkeypatch: pytest.MonkeyPatch) -> None:
    direct = Direct()
    follow(monkeypatch, direct, lambda: (claimed("mm_01", HERE),), seconds=1.0)
    assert direct.started == ["mm_02"]


def test_cleanups_of_another_command_do_not_make_the_queue_move(monkeypatch: pytest.MonkeyPatch) -> None:
    direct = Direct()
    by = "somebody@there, manage.py 7"
    follow(monkeypatch, direct, lambda: (claimed("mm_01", by),), seconds=1.0)
    assert direct.started == ["mm_02"]


def test_no_more_cleanups_are_begun_here_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    direct = Direct(is_full=True)
    follow(monkeypatch, direct, lambda: (), seconds=1.0)
    assert direct.started == []

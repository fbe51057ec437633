"""Waiting until nothing that a server was told can be forgotten any more."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
import redis

from state import durability, keys
from state.durability import (
    HANDED_OVER_S,
    LOOK_EVERY_S,
    NothingKept,
    is_first_file_unfinished,
    save,
    wait_for_disk,
    wait_for_replicas,
    wait_until_kept,
)
from state.scripts import Scripts
from tests.unit.state.told_scripts import Told

DONE = {"aof_enabled": 1, "aof_base_size": 5}


@pytest.mark.parametrize(
    ("info", "is_unfinished"),
    [
        ({}, False),
        ({"aof_base_size": 5, "aof_rewrite_in_progress": 1}, False),
        ({"aof_rewrite_in_progress": 1}, True),
        ({"aof_rewrite_scheduled": 1}, True),
        ({"aof_last_bgrewrite_status": "err"}, True),
        ({"aof_last_bgrewrite_status": "ok"}, False),
        ({"aof_base_size": 5, "aof_last_bgrewrite_status": "err"}, False),
    ],
)
def test_a_file_counts_once_it_is_complete(info: dict[str, Any], is_unfinished: bool) -> None:
    assert is_first_file_unfinished(info) is is_unfinished


class Disk:
    """A server whose disk a test tells of, under a clock that waits alone move."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passed_s = 0.0
        self.looks: list[float] = []
        self.marks: list[tuple[str, str]] = []
        self.infos: Iterator[dict[str, Any]] = iter(())
        self.last: dict[str, Any] = DONE
        monkeypatch.setattr(durability, "time", SimpleNamespace(monotonic=lambda: 100.0 + self.passed_s))
        event = SimpleNamespace(wait=self._wait)
        monkeypatch.setattr(durability, "threading", SimpleNamespace(Event=lambda: event))

    def _wait(self, seconds: float) -> None:
        self.passed_s += seconds

    def info(self, section: str) -> dict[str, Any]:
        """Tell."""
        assert section == "persistence"
        self.looks.append(self.passed_s)
        self.last = next(self.infos, self.last)
        return self.last

    def set(self, name: str, value: str) -> None:
        """Take the mark."""
        self.marks.append((name, value))

    def wait(self, timeout_s: float = 4.0) -> bool:
        """Wait for it."""
        return wait_for_disk(cast("redis.Redis", self), timeout_s=timeout_s)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def test_an_idle_disk_is_believed_after_a_second_and_two_looks(disk: Disk) -> None:
    assert disk.wait()
    assert HANDED_OVER_S <= disk.passed_s < HANDED_OVER_S + 2 * LOOK_EVERY_S
    assert disk.marks == [(keys.DISK_MARK, "1")]
    assert disk.looks[1] - disk.looks[0] == pytest.approx(LOOK_EVERY_S)


@pytest.mark.parametrize(
    "trouble",
    [
        {"aof_pending_bio_fsync": 1},
        {"aof_buffer_length": 1},
        {"aof_last_write_status": "err"},
        {"aof_base_size": 0, "aof_rewrite_in_progress": 1},
    ],
)
def test_one_that_is_not_done_is_waited_for_until_the_time_is_over(
    disk: Disk, trouble: dict[str, Any]
) -> None:
    disk.last = DONE | trouble
    assert not disk.wait(timeout_s=2.0)
    assert 2.0 <= disk.passed_s < 2.0 + 2 * LOOK_EVERY_S


def test_two_looks_in_a_row_must_find_it_idle(disk: Disk) -> None:
    busy, idle = DONE | {"aof_pending_bio_fsync": 1}, DONE

    def told() -> Iterator[dict[str, Any]]:
        while disk.passed_s < 3.0:
            yield busy
            yield idle

    disk.infos = told()
    disk.last = idle
    assert disk.wait(timeout_s=10.0)
    assert disk.passed_s >= 3.0


def test_a_time_that_is_over_at_once_has_one_look(disk: Disk) -> None:
    assert not disk.wait(timeout_s=0.0)
    assert disk.looks == [0.0]


def test_without_a_file_nothing_is_kept(disk: Disk) -> None:
    for info in ({"aof_enabled": 0}, {}):
        disk.last = info
        with pytest.raises(NothingKept):
            disk.wait()


class Replicas:
    """A server with replicas."""

    def __init__(self, connected: int | None, answered: int) -> None:
        self._connected, self._answered = connected, answered
        self.waits: list[tuple[int, int]] = []
        self.marks: list[tuple[str, str]] = []

    def info(self, section: str) -> dict[str, Any]:
        """Tell."""
        assert section == "replication"
        return {} if self._connected is None else {"connected_slaves": self._connected}

    def pipeline(self, *, transaction: bool) -> Replicas:
        """Stand for one."""
        assert not transaction
        return self

    def set(self, name: str, value: str) -> None:
        """Take the mark."""
        self.marks.append((name, value))

    def wait(self, replicas: int, timeout_ms: int) -> None:
        """Note the wait."""
        self.waits.append((replicas, timeout_ms))

    def execute(self) -> list[Any]:
        """Answer."""
        return [True, self._answered]


@pytest.mark.parametrize(
    ("connected", "answered", "has_all"),
    [(2, 2, True), (2, 3, True), (2, 1, False), (0, 0, False), (None, 0, False)],
)
def test_all_replicas_are_waited_for(connected: int | None, answered: int, has_all: bool) -> None:
    replicas = Replicas(connected, answered)
    assert wait_for_replicas(cast("redis.Redis", replicas), timeout_s=1.5) is has_all
    assert replicas.waits == ([(connected, 1_500)] if connected else [])
    assert replicas.marks == ([(keys.DISK_MARK, "1")] if connected else [])


@pytest.mark.parametrize(
    ("led", "replicas", "forces", "disk", "kept"),
    [
        (False, False, False, True, True),
        (False, True, True, False, False),
        (True, False, True, True, False),
        (True, True, True, False, True),
        (True, True, False, True, True),
        (True, True, False, False, False),
    ],
)
def test_what_is_waited_for_depends_on_who_may_take_over(
    monkeypatch: pytest.MonkeyPatch, led: bool, replicas: bool, forces: bool, disk: bool, kept: bool
) -> None:
    monkeypatch.setattr(durability, "is_led_by_sentinels", lambda _: led)
    monkeypatch.setattr(durability, "wait_for_replicas", lambda _: replicas)
    monkeypatch.setattr(durability, "_forces_each_write", lambda _: forces)
    monkeypatch.setattr(durability, "wait_for_disk", lambda _: disk)
    assert wait_until_kept(cast("redis.Redis", None)) is kept


@pytest.mark.parametrize(
    ("told", "forces"),
    [
        ({"appendonly": "yes", "appendfsync": "always"}, True),
        ({"appendonly": "no", "appendfsync": "always"}, False),
        ({"appendonly": "yes", "appendfsync": "everysec"}, False),
        ({}, False),
        (redis.ResponseError("unknown command"), False),
    ],
)
def test_a_server_that_forces_each_write_says_so(told: Any, forces: bool) -> None:
    class Client:
        def config_get(self, _: str) -> Any:
            if isinstance(told, Exception):
                raise told
            return told

    assert durability._forces_each_write(cast("redis.Redis", Client())) is forces


@pytest.mark.parametrize("answer", [True, False, NothingKept("no file")])
def test_what_is_kept_is_noted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, answer: bool | NothingKept
) -> None:
    def wait(_: object) -> bool:
        if isinstance(answer, NothingKept):
            raise answer
        return answer

    monkeypatch.setattr(durability, "wait_until_kept", wait)
    scripts = Told(["saved"])
    with caplog.at_level(logging.ERROR):
        is_saved = save(cast("redis.Redis", None), cast("Scripts", scripts), "mm", "stop 5")
    assert is_saved is (answer is not False)
    assert scripts.asked == ([("saved", [keys.record("mm")], ["stop 5"])] if is_saved else [])
    assert ("may take this back: stop 5 (no file)" in caplog.text) is isinstance(answer, NothingKept)

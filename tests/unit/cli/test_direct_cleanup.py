"""Cleanups in the command's own process."""

from __future__ import annotations

import threading

import pytest

from cli.direct_cleanup import MOST_AT_ONCE, DirectCleanups
from settings import Settings


def test_a_command_does_not_end_before_the_last_fills_of_its_cleanup_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted: list[str] = []

    def take_a_moment(_: DirectCleanups, instance_id: str, __: int) -> None:
        threading.Event().wait(0.1)
        counted.append(instance_id)

    monkeypatch.setattr(DirectCleanups, "_run", take_a_moment)
    direct = DirectCleanups(Settings(), by="test")
    direct.start("mm_01", 1)
    direct.count_last_fills(["mm_01", "cleaned_up_by_a_worker"])
    assert counted == ["mm_01"]


def test_a_command_does_not_wait_for_ever_for_last_fills(monkeypatch: pytest.MonkeyPatch) -> None:
    hold = threading.Event()
    monkeypatch.setattr("cli.direct_cleanup.LAST_FILLS_S", 0.01)
    monkeypatch.setattr(DirectCleanups, "_run", lambda *_: hold.wait(60))
    direct = DirectCleanups(Settings(), by="test")
    direct.start("mm_01", 1)
    direct.count_last_fills(["mm_01"])
    assert direct.is_running("mm_01")
    hold.set()


def test_a_command_runs_no_more_cleanups_at_once_than_it_should(monkeypatch: pytest.MonkeyPatch) -> None:
    hold = threading.Event()
    monkeypatch.setattr(DirectCleanups, "_run", lambda *_: hold.wait(60))
    direct = DirectCleanups(Settings(), by="test")
    for number in range(MOST_AT_ONCE):
        assert not direct.is_full
        direct.start(f"mm_{number:02}", 1)
    assert direct.is_full
    hold.set()
    direct.count_last_fills(f"mm_{number:02}" for number in range(MOST_AT_ONCE))
    assert not direct.is_full


def test_a_cleanup_takes_over_the_connections_of_one_that_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[object] = []
    used: list[object] = []

    def open_one(*_: object, **__: object) -> object:
        opened.append(object())
        return opened[-1]

    monkeypatch.setattr("cli.direct_cleanup.open_full_context", open_one)
    monkeypatch.setattr("runner.cleanup.run_cleanup", lambda context, *_, **__: used.append(context))
    monkeypatch.setattr("metrics.keeping.keep", lambda _: None)
    direct = DirectCleanups(Settings(), by="test")
    for name in ("mm_01", "mm_02"):
        direct.start(name, 1)
        direct.count_last_fills([name])
    assert used == [opened[0], opened[0]]

"""Cleanups in the command's own process."""

from __future__ import annotations

import threading

import pytest

from cli.direct_cleanup import DirectCleanups
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

"""Signals to a child while a task runs, and before and after it."""

from __future__ import annotations

import mmap
import os
import signal
import threading
from collections.abc import Iterator

import pytest
from billiard.process import current_process

from tasks import ending

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")


@pytest.fixture
def worker_ends(monkeypatch: pytest.MonkeyPatch) -> mmap.mmap:
    """What the main process marks, of a worker that goes on for now."""
    shared = mmap.mmap(-1, 1)
    monkeypatch.setattr(ending, "_worker_ends", shared)
    return shared


@pytest.fixture
def deaths(monkeypatch: pytest.MonkeyPatch, worker_ends: mmap.mmap) -> Iterator[list[int]]:
    """The signals of which this process, taken for a pool's child, would have died."""
    monkeypatch.setattr(ending, "_is_pool_child", lambda: True)
    monkeypatch.setattr(ending, "_of_the_pool", {})
    died: list[int] = []
    before = {number: signal.signal(number, lambda n, _: died.append(n)) for number in ending.SIGNALS}
    yield died
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_during_a_task_only_asks_for_its_end_however_often_it_comes(
    deaths: list[int], number: signal.Signals
) -> None:
    with ending.ending_safely() as is_ending:
        assert not is_ending()
        for _ in range(3):
            signal.raise_signal(number)
        assert is_ending()
    assert deaths == []


def test_an_idle_child_dies_as_ever(deaths: list[int]) -> None:
    with ending.ending_safely():
        pass
    signal.raise_signal(signal.SIGTERM)
    assert deaths == [signal.SIGTERM]


def test_the_pools_handler_is_back_after_a_task_that_was_cut(deaths: list[int]) -> None:
    with pytest.raises(TimeoutError), ending.ending_safely():
        raise TimeoutError("soft limit")
    signal.raise_signal(signal.SIGHUP)
    assert deaths == [signal.SIGHUP]


def test_it_is_back_after_the_next_task_where_a_limit_came_while_it_was_put_back(
    deaths: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(_: int, __: object) -> None:
        raise TimeoutError("soft limit")

    with monkeypatch.context() as patch, pytest.raises(TimeoutError), ending.ending_safely():
        patch.setattr(signal, "signal", cut)
    with ending.ending_safely():
        pass
    signal.raise_signal(signal.SIGTERM)
    assert deaths == [signal.SIGTERM]


def test_what_was_asked_of_one_task_is_not_asked_of_the_next(deaths: list[int]) -> None:
    with ending.ending_safely():
        signal.raise_signal(signal.SIGTERM)
    with ending.ending_safely() as is_ending:
        assert not is_ending()


def test_without_child_processes_the_signals_stay_with_celery(worker_ends: mmap.mmap) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with ending.ending_safely() as is_ending:
        assert signal.getsignal(signal.SIGTERM) is before
        assert not is_ending()


def test_a_thread_that_runs_a_task_touches_no_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(current_process(), "_name", "ForkPoolWorker-1")
    assert ending._is_pool_child()
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(ending._is_pool_child()))
    thread.start()
    thread.join()
    assert found == [False]


def test_the_main_process_tells_children_that_were_forked_before(worker_ends: mmap.mmap) -> None:
    to_child, to_parent = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        with ending.ending_safely() as is_ending:
            before = is_ending()
            os.write(to_parent[1], b".")
            os.read(to_child[0], 1)
            os._exit(0 if (before, is_ending()) == (False, True) else 1)
    os.read(to_parent[0], 1)
    ending.tell_children()
    os.write(to_child[1], b".")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    for end in (*to_child, *to_parent):
        os.close(end)

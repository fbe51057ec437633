"""How a task learns that it should come to its end: it is told, and ends itself where that is safe.

The pool's own handler of SIGTERM raises SystemExit wherever the task happens to be, also between an order
that was sent and its answer. So a signal only leaves a mark while a task runs; an idle child dies of it as
ever.
"""

from __future__ import annotations

import mmap
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from billiard.process import current_process

from runner.ending import IsEnding

#: What asks a child to end: SIGTERM from its group or from Flower's "Terminate", SIGHUP from a terminal that
#: closes. (Ctrl-C reaches the main process only: the pool's children ignore SIGINT.)
SIGNALS = (signal.SIGTERM, signal.SIGHUP)

#: One byte that the children share, since they fork later: the main process marks here that it shuts down.
#: A signal would kill a child that has just become idle, or has not yet begun with what it was given.
_worker_ends = mmap.mmap(-1, 1)

#: This child's handlers outside of tasks. Kept for all tasks: a soft time limit may come while they are put
#: back, and what stands there then is no handler to put back after the next task.
_of_the_pool: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}


def tell_children() -> None:
    """Let every task of this worker, and those that still begin, come to their end."""
    _worker_ends[0] = 1


@contextmanager
def ending_safely() -> Iterator[IsEnding]:
    """Let the signals that would end this child in the middle of something only ask for its end.

    However often they come: who cannot wait has SIGKILL, which lease and fence are for.
    """
    asked = False

    def note(_: int, __: FrameType | None) -> None:
        nonlocal asked
        asked = True

    def is_ending() -> bool:
        return asked or _worker_ends[0] == 1

    if not _is_pool_child():
        yield is_ending
        return
    for number in SIGNALS:
        _of_the_pool.setdefault(number, signal.getsignal(number))
        signal.signal(number, note)
    try:
        yield is_ending
    finally:
        for number in SIGNALS:
            signal.signal(number, _of_the_pool[number])


def _is_pool_child() -> bool:
    """Tell whether signals are ours to handle: without child processes Celery does, and only notes them."""
    return current_process().name != "MainProcess" and threading.current_thread() is threading.main_thread()

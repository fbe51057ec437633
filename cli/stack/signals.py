"""How a command that has child processes ends: in order, however it is asked to."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

STANDARD_ERROR = 2

Handler = Callable[[int, FrameType | None], None]


@contextlib.contextmanager
def ending_politely() -> Iterator[None]:
    """Let SIGTERM and a closed terminal raise KeyboardInterrupt, as Ctrl-C does."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with _handling(interrupt, signal.SIGTERM, signal.SIGHUP):
        yield


@contextlib.contextmanager
def finishing_first() -> Iterator[None]:
    """Take note of Ctrl-C and go on: what runs inside is the ending that the user asks for."""

    def note(_number: int, _frame: FrameType | None) -> None:
        # Not through sys.stderr: the signal may have come in the middle of a write to it.
        os.write(STANDARD_ERROR, b"stopping already, a moment\n")

    with _handling(note, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        yield


@contextlib.contextmanager
def _handling(handler: Handler, *numbers: signal.Signals) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread is interrupted by signals, and only it may say how
        return
    earlier = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, previous in earlier.items():
            signal.signal(number, previous)
